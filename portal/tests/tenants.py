"""A complete tenant with accounts of every level and role, for tests that let a stranger knock."""

from __future__ import annotations

from dataclasses import dataclass, field

from portal.models import EndUser, Group, PortalAccount, Reseller, SystemProvider
from portal.tests.factories import (
    EndUserFactory,
    GroupFactory,
    PortalAccountFactory,
    ResellerFactory,
    SystemProviderFactory,
    device_token,
    staff_token,
)

ROLES = ("administrator", "read_only")
LEVELS = ("system_provider", "reseller", "group")


@dataclass
class Tenant:
    """One tenant: two branches, so that a reseller or group can also be strange to its neighbour.

    `accounts` and `staff_tokens` are by (level, role) of the first branch; every name contains `mark`, so that a page
    which shows it to a stranger is caught.
    """

    mark: str
    system_provider: SystemProvider
    reseller: Reseller
    group: Group
    other_reseller: Reseller
    other_group: Group
    user: EndUser
    colleague: EndUser
    other_user: EndUser
    accounts: dict[tuple[str, str], PortalAccount] = field(default_factory=dict)
    staff_tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    device_tokens: dict[str, str] = field(default_factory=dict)

    @property
    def administrator(self) -> PortalAccount:
        """The administrator of the system provider, who gets alerts."""
        return self.accounts["system_provider", "administrator"]

    @property
    def token(self) -> str:
        """The API token of `administrator`."""
        return self.staff_tokens["system_provider", "administrator"]

    @property
    def device_token(self) -> str:
        """A device token of `user`."""
        return self.device_tokens["user"]


def make_tenant(mark: str) -> Tenant:
    provider = SystemProviderFactory(name=f"{mark} Telecom")
    reseller = ResellerFactory(system_provider=provider, name=f"{mark} Partners")
    other_reseller = ResellerFactory(system_provider=provider, name=f"{mark} Resale")
    group = GroupFactory(reseller=reseller, name=f"{mark} Works")
    other_group = GroupFactory(reseller=other_reseller, name=f"{mark} Office")
    users = {
        name: EndUserFactory(group=home, login=f"{name}@{mark.lower()}.example", name=f"{mark} {name}")
        for name, home in (("user", group), ("colleague", group), ("other_user", other_group))
    }
    tenant = Tenant(mark, provider, reseller, group, other_reseller, other_group, **users)
    scopes = {"system_provider": provider, "reseller": reseller, "group": group}
    for level in LEVELS:
        for role in ROLES:
            tenant.accounts[level, role] = PortalAccountFactory(
                scope=scopes[level],
                role=role,
                username=f"{mark.lower()}-{level}-{role}",
                name=f"{mark} {level}",
                send_alerts=(level, role) == ("system_provider", "administrator"),
            )
    tenant.staff_tokens = {key: staff_token(account) for key, account in tenant.accounts.items()}
    tenant.device_tokens = {name: device_token(user) for name, user in users.items()}
    return tenant
