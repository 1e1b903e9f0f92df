"""A tenant with Integrated IM&P: its BroadWorks is the sandbox's, the messaging server behind it a real Prosody."""

from __future__ import annotations

from typing import Any

from tests.e2e.clients import Device
from tests.e2e.world import PASSWORD, Tenant
from tests.prosody import Prosody
from tests.sandbox_process import BroadworksControl, wait_for
from tests.xmpp_peer import UcOne

# What UC-One came with, before anybody changed it here.
OLD_PASSWORD = "what UC-One came with"
OCI_PORT_OFFSET = 8


class ImpTown:
    """People whom BroadWorks knows too, with the service off, and their UC-One, which no code of ours is part of."""

    def __init__(self, tenant: Tenant, prosody: Prosody) -> None:
        self.tenant, self.prosody = tenant, prosody
        self.oci_port = tenant.carrier.port + OCI_PORT_OFFSET
        self._clients: list[UcOne] = []
        self._pass_on_passwords()

    def _pass_on_passwords(self) -> None:
        """Prosody lets everybody in who has a JID, with the password that BroadWorks has."""
        data = str(self.prosody.folder / "data")
        self._control("PUT", "", {"imp_domain": self.prosody.domain, "xmpp_accounts": data})

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        return self.tenant.carrier.control(method, f"broadworks/{path}", body)

    def connection(self) -> dict[str, Any]:
        """The fields that lead to that BroadWorks and to that server."""
        return {
            "host": "127.0.0.1",
            "port": self.oci_port,
            "username": BroadworksControl.username,
            "password": BroadworksControl.password,
            "xmpp_host": self.prosody.host,
            "xmpp_port": self.prosody.port,
            "xmpp_ca": self.prosody.authority.pem,
        }

    def connect(self) -> None:
        self.tenant.staff.post("broadworks/", {"system_provider": self.tenant.provider["id"], **self.connection()})

    def generate_passwords(self, wanted: bool) -> None:
        """The brand property of S0.18."""
        branding = {"auto_generate_xmpp_password": wanted}
        self.tenant.staff.patch(f"system-providers/{self.tenant.provider['id']}/", {"branding": branding})

    def new_user(self, name: str) -> Any:
        """Here and in BroadWorks. All tenants' JIDs are of one domain, so the login's first part is used only once."""
        mark = self.tenant.mark.lower()
        user = self.tenant.new_user(name, login=f"{name}-{mark}@{mark}.example")
        imp = {"assigned": False, "active": False}
        there = {"imp": imp, "imp_password": OLD_PASSWORD, "device": {"name": user["login"]}}
        self._control("PUT", f"users/{user['login']}/", there)
        return user

    def switch_on(self, user: Any) -> str:
        """By staff; returns the JID."""
        body = {"integrated_imp": {"assigned": True, "enabled": True}}
        jid: str = self.tenant.staff.patch(f"users/{user['id']}/", body)["imp_id"]
        return jid

    def online(self, user: Any, password: str) -> Device:
        """A device of a user who has chosen this password for XMPP and is online with it."""
        device = self.tenant.device(user)
        device.post("xmpp/password/", {"password": password, "retype": password}, status=200)
        wait_for(lambda: device.get("xmpp/")["status"] == "online", what=f"{user['login']} to be online")
        return device

    def uc_one(self, user: Any) -> UcOne:
        """Online with the password that BroadWorks has for the user now."""
        self._pass_on_passwords()
        there = self.in_broadworks(user)
        client = UcOne(self.prosody, there["imp"]["id"], there["imp_password"])
        self._clients.append(client)
        return client.connect()

    def in_broadworks(self, user: Any) -> Any:
        """The user as BroadWorks has it."""
        return self._control("GET", f"users/{user['login']}/")

    def close(self) -> None:
        for client in self._clients:
            client.disconnect()
        self._control("PUT", "", {"xmpp_accounts": None})


def same_as_login() -> dict[str, str]:
    """The body of a change to the password that all users of the tests log in with."""
    return {"password": PASSWORD, "retype": PASSWORD}
