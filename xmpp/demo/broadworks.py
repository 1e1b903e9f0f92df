"""The demo's BroadWorks, which the sandbox simulates, and an SMS gateway that waits for an XMPP server.

There is none in the demo by itself, so nobody has Integrated IM&P; `make xmpp` starts one and switches it on.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import requests

from cpaas.demo.cast import OPERATORS, PROVIDERS, demo_id
from portal.models import EndUser, PortalAccount, SystemProvider
from xmpp.demo.scripts import IMP_DOMAIN
from xmpp.models import BroadworksConnection, SmsGateway
from xmpp.services.accounts import account_of, service_of
from xmpp.services.connections import test_connection
from xmpp.services.gateways import create_gateway

# sandbox/README.md
_OCI_PORT_OFFSET = 8
_USERNAME, _PASSWORD = "sandbox-admin", "sandbox-admin-password"
SERVICE_PROVIDER = "harbourline"
# Nobody listens there until somebody starts a server and says where it is.
_XMPP_PORT_OFFSET = 22
_GATEWAY_DOMAIN = f"sms.{IMP_DOMAIN}"
_PROVIDER = PROVIDERS[0]
# In BroadWorks only, so that *Import users* finds somebody.
_NEW = {
    "login": "nora.bexley@kesslerboyd.example",
    "first_name": "Nora",
    "last_name": "Bexley",
    "email": "nora.bexley@kesslerboyd.example",
    "extension": "2106",
    "group": "kessler",
}
_COMMON: dict[str, Any] = {
    "service_provider": SERVICE_PROVIDER,
    # As in the demo: their country is the provider's.
    "country_code": "",
    "imp": {"assigned": False, "active": False},
}
_GROUPS = {30: "kessler", 50: "marigold", 70: "ironleaf"}


def load_broadworks(sandbox_port: int) -> None:
    """For the first provider, led to where the sandbox is this time. What somebody entered instead stays."""
    provider = SystemProvider.objects.get(pk=demo_id(_PROVIDER.place))
    # A row and no service: that would ask BroadWorks, and nobody promises that the sandbox runs now.
    connection, is_new = BroadworksConnection.objects.get_or_create(
        pk=provider.pk,
        defaults={
            "host": "127.0.0.1",
            "port": sandbox_port + _OCI_PORT_OFFSET,
            "username": _USERNAME,
            "password": _PASSWORD,
            "imp_domain": IMP_DOMAIN,
            "xmpp_host": "127.0.0.1",
            "xmpp_port": sandbox_port + _XMPP_PORT_OFFSET,
        },
    )
    if not is_new and connection.username == _USERNAME:
        BroadworksConnection.objects.filter(pk=provider.pk).update(port=sandbox_port + _OCI_PORT_OFFSET)
    if not SmsGateway.objects.filter(pk=provider.pk).exists():
        create_gateway(
            actor=PortalAccount.objects.get(username=OPERATORS[0].username),
            system_provider=provider,
            domain=_GATEWAY_DOMAIN,
            host="127.0.0.1",
            secret=secrets.token_urlsafe(16),
            enabled=False,
        )


def tell_sandbox(sandbox_port: int, wait_s: float) -> bool:
    """Let the sandbox's BroadWorks have the demo's users, whom it forgets when it ends; asked for so many seconds.

    False when nobody answers, or there is no demo.
    """
    connection = BroadworksConnection.objects.filter(pk=demo_id(_PROVIDER.place), username=_USERNAME).first()
    if connection is None or not _is_up(sandbox_port, wait_s):
        return False
    users = f"{_control(sandbox_port)}users/"
    for user in [*_known(), _NEW]:
        body = {name: value for name, value in user.items() if name != "login"}
        answer = requests.put(f"{users}{user['login']}/", json={**_COMMON, **body}, timeout=10)
        answer.raise_for_status()
    test_connection(actor=None, connection=connection)
    return True


def _known() -> Iterator[dict[str, Any]]:
    """The demo's users as BroadWorks has them."""
    groups = {demo_id(place): name for place, name in _GROUPS.items()}
    for user in EndUser.objects.filter(group__in=groups).order_by("pk"):
        first, _, last = user.name.partition(" ")
        account = account_of(user)
        service = service_of(account)
        yield {
            "login": user.login,
            "first_name": first,
            "last_name": last,
            "email": user.email,
            "extension": user.extension,
            "mobile": user.mobile or None,
            "group": groups[user.group_id],
            "device": {"name": f"{user.login.partition('@')[0]}-pc"},
            "imp": {
                "assigned": service.assigned,
                "active": service.enabled,
                "id": account.imp_id if account and service.is_on else None,
            },
        }


def _is_up(sandbox_port: int, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return requests.get(_control(sandbox_port), timeout=10).ok
        except requests.ConnectionError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.2)


def _control(sandbox_port: int) -> str:
    return f"http://127.0.0.1:{sandbox_port}/_control/broadworks/"
