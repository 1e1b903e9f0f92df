"""The demo's tenants, accounts and users, made by the services and put back where somebody removed them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.db.models import Q

from cpaas.demo import cast
from cpaas.demo.cast import PASSWORD, PROVIDERS, demo_id
from portal.models import EndUser, Group, PortalAccount, Reseller, SystemProvider
from portal.services import accounts, tenants, users


class Tenants:
    """Makes what is missing. `accounts` and `users` are what it found or made, by their place in the cast."""

    def __init__(self) -> None:
        self.accounts: dict[int, PortalAccount] = {}
        self.users: dict[int, EndUser] = {}
        # Hashing takes a quarter of a second, so all of them share one hash.
        self._hash = ""
        self._right: set[str] = set()

    def load(self) -> None:
        self._accounts("operator", None, cast.OPERATORS)
        operator = self._operator()
        for provider in PROVIDERS:
            row = SystemProvider.objects.filter(pk=demo_id(provider.place)).first()
            row = row or tenants.create_system_provider(
                actor=operator,
                id=demo_id(provider.place),
                name=provider.name,
                time_zone=provider.time_zone,
                default_country=provider.default_country,
            )
            self._accounts("system_provider", row, provider.accounts)
            for reseller in provider.resellers:
                self._reseller(operator, row, reseller)

    def _operator(self) -> PortalAccount | None:
        """Who makes the others; None before there is one."""
        return self.accounts.get(cast.OPERATORS[0].place)

    def _reseller(self, operator: PortalAccount | None, provider: SystemProvider, reseller: cast.Reseller) -> None:
        row = Reseller.objects.filter(pk=demo_id(reseller.place)).first()
        row = row or tenants.create_reseller(
            actor=operator, system_provider=provider, id=demo_id(reseller.place), name=reseller.name
        )
        self._accounts("reseller", row, reseller.accounts)
        for group in reseller.groups:
            self._group(operator, row, group)

    def _group(self, operator: PortalAccount | None, reseller: Reseller, group: cast.Group) -> None:
        row = Group.objects.filter(pk=demo_id(group.place)).first()
        row = row or tenants.create_group(actor=operator, reseller=reseller, id=demo_id(group.place), name=group.name)
        self._accounts("group", row, group.accounts)
        for user in group.users:
            self.users[user.place] = self._user(operator, row, user)

    def _accounts(self, level: str, scope: Any, wanted: Iterable[cast.Account]) -> None:
        for account in wanted:
            same = Q(pk=demo_id(account.place)) | Q(username=account.username, level=level, **_columns(level, scope))
            row = PortalAccount.objects.filter(same).order_by("id").first()
            row = row or accounts.create_account(
                actor=self._operator(),
                level=level,
                scope=scope,
                password=PASSWORD,
                id=demo_id(account.place),
                username=account.username,
                name=account.name,
                email=f"{account.username}@portal.example",
                role=account.role,
                send_alerts=account.send_alerts,
                time_zone=account.time_zone,
            )
            self._give_password(row)
            self.accounts[account.place] = row

    def _user(self, operator: PortalAccount | None, group: Group, user: cast.User) -> EndUser:
        # A visitor may have deleted somebody and added them again.
        same = Q(pk=demo_id(user.place)) | Q(login=user.login, group=group)
        row = EndUser.objects.filter(same).order_by("id").first()
        row = row or users.create_user(
            actor=operator,
            group=group,
            id=demo_id(user.place),
            login=user.login,
            name=user.name,
            email=user.login,
            licence=user.licence,
            extension=user.extension,
            mobile=user.mobile,
            country=user.country,
            time_zone=user.time_zone,
        )
        self._give_password(row)
        return row

    def _give_password(self, row: PortalAccount | EndUser) -> None:
        """Whatever somebody made of it: the documented password, and able to log in."""
        if row.password not in self._right:
            row.password = self._hash_for(row.password)
        row.is_active = True
        row.save(update_fields=["password", "is_active"])

    def _hash_for(self, found: str) -> str:
        """`found` when it is a right hash met for the first time, else the one that all share."""
        if not self._hash:
            self._hash = found if found and check_password(PASSWORD, found) else make_password(PASSWORD)
            self._right.add(self._hash)
        return self._hash


def _columns(level: str, scope: Any) -> dict[str, Any]:
    """The column of an account that names its scope; none for operators."""
    return {} if scope is None else {level: scope}
