"""The BroadWorks of a system provider: tried before it is saved, and asked in its users' name."""

from __future__ import annotations

import re
import ssl
import uuid
from collections.abc import Mapping
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import F

from portal import clock
from portal.addresses import ForbiddenAddress, check_host
from portal.background import few_at_once, run_soon
from portal.encryption import readable
from portal.models import SystemProvider
from portal.problems import Problem, conflict, invalid
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.changes import apply_changes, validate
from xmpp.broadworks import BroadworksError, Refused, Server, commands, run
from xmpp.broadworks.documents import Operation
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services.accounts_news import tell_accounts_changed
from xmpp.states import TERMINAL, AccountStatus, Work

WORK_TASK = "xmpp.tasks.work_accounts"
PLAIN_FIELDS = {
    "host",
    "port",
    "transport",
    "tls",
    "soap_path",
    "username",
    "imp_domain",
    "xmpp_host",
    "xmpp_port",
    "xmpp_ca",
    "device_tag_user",
    "device_tag_password",
    "device_types",
}
CONNECTION_FIELDS = PLAIN_FIELDS | {"password"}
# Where the password goes: whoever changes one of these has to know it (else it could be had by pointing it elsewhere).
_PLACE = {"host", "port", "transport", "tls", "soap_path"}
_SESSION_FIELDS = {"imp_domain", "xmpp_host", "xmpp_port", "xmpp_ca"}
_UNDECRYPTABLE = "The password for BroadWorks cannot be decrypted. Set it anew."
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_HOST = re.compile(r"[0-9A-Za-z.:-]{1,253}")

ResultT = TypeVar("ResultT")


def connection_of(system_provider_id: uuid.UUID) -> BroadworksConnection | None:
    return BroadworksConnection.objects.filter(pk=system_provider_id).first()


def server_of(connection: BroadworksConnection | None) -> Server | None:
    """BroadWorks as the client reaches it, None when everything is only ours.

    Raises Problem `broadworks_refused` (502) when the stored password cannot be decrypted.
    """
    if connection is None or not connection.host:
        return None
    password = readable(connection, "password")
    if password is None:
        raise Problem("broadworks_refused", _UNDECRYPTABLE, status=502)
    return Server(
        host=connection.host,
        port=connection.port,
        transport=connection.transport,
        username=connection.username,
        password=password,
        tls=connection.tls,
        path=connection.soap_path,
    )


def ask(server: Server, operation: Operation[ResultT]) -> ResultT:
    """What BroadWorks answers. Raises Problem `broadworks_refused` or `broadworks_unreachable` (502)."""
    try:
        return run(server, operation)
    except BroadworksError as error:
        raise broadworks_problem(error) from error


def broadworks_problem(error: BroadworksError) -> Problem:
    """What a failure means to whoever asked."""
    code = "broadworks_refused" if isinstance(error, Refused) else "broadworks_unreachable"
    return Problem(code, f"{error.detail} Nothing was changed.", status=502)


def create_connection(*, actor: Actor | None, system_provider: SystemProvider, **fields: Any) -> BroadworksConnection:
    """The connection of a system provider; BroadWorks, when there is a host, must let us in first.

    Raises Problem `invalid`, `exists` (409), `broadworks_refused` (400), `broadworks_unreachable` (502).
    """
    require_writer(actor)
    draft = BroadworksConnection(system_provider=system_provider)
    _, after = _merge(draft, fields)
    _probe(draft)
    with transaction.atomic():
        SystemProvider.objects.select_for_update().get(pk=system_provider.pk)
        if connection_of(system_provider.pk):
            raise conflict("exists", "This system provider has a BroadWorks connection already. Change that one.")
        draft.save(force_insert=True)
        audit.record(actor, "create", system_provider, after={"broadworks": after})
        _name_accounts(draft)
        tell_accounts_changed()
    return draft


def update_connection(
    *, actor: Actor | None, connection: BroadworksConnection, changes: Mapping[str, Any]
) -> BroadworksConnection:
    """Change a connection; a password left blank is kept (R9), but has to be given again for another address.

    BroadWorks is asked with the values that would hold. Raises as `create_connection`; then the old ones stay.
    """
    require_writer(actor)
    draft = BroadworksConnection.objects.select_related("system_provider").get(pk=connection.pk)
    seen = _secretly(draft)
    _, after = _merge(draft, changes)
    if _PLACE & set(after) and connection.has_password and draft.host and not changes.get("password"):
        raise invalid(password="Enter the password again: it will be used at another address.")  # noqa: S106
    _probe(draft)
    with transaction.atomic():
        row = BroadworksConnection.objects.select_for_update().get(pk=connection.pk)
        if _secretly(row) != seen:
            raise conflict("changed_meanwhile", "Somebody else changed this connection just now. Look and try again.")
        before, after = _merge(row, changes)
        row.status, row.status_detail, row.checked_at = draft.status, draft.status_detail, draft.checked_at
        if _SESSION_FIELDS & set(after):
            row.version += 1
            _let_connect_again(row)
        row.save()
        audit.record(actor, "update", draft.system_provider, before={"broadworks": before}, after={"broadworks": after})
        _name_accounts(row)
        tell_accounts_changed()
    return row


def delete_connection(*, actor: Actor | None, connection: BroadworksConnection) -> None:
    """Take a connection away: its users' XMPP sessions end, BroadWorks is neither asked nor told any more."""
    require_writer(actor)
    with transaction.atomic():
        before = {"host": connection.host, "imp_domain": connection.imp_domain}
        audit.record(actor, "delete", connection.system_provider, before={"broadworks": before})
        BroadworksConnection.objects.filter(pk=connection.pk).delete()
        tell_accounts_changed()


def test_connection(*, actor: Actor | None, connection: BroadworksConnection) -> BroadworksConnection:
    """Ask BroadWorks whether it lets us in, and remember what it said. Raises nothing for a no."""
    require_writer(actor)
    try:
        _probe(connection)
    except Problem as problem:
        connection.status, connection.status_detail = "failed", problem.detail[:300]
        connection.checked_at = clock.now()
    found = {name: getattr(connection, name) for name in ("status", "status_detail", "checked_at")}
    # It may have been deleted meanwhile.
    BroadworksConnection.objects.filter(pk=connection.pk).update(**found)
    return connection


@few_at_once(1)
def test_every_connection() -> int:
    """Ask every BroadWorks whether it still lets us in, so that staff see a failed one before users do; returns how
    many."""
    asked = 0
    for connection in BroadworksConnection.objects.exclude(host="").order_by("pk").iterator():
        test_connection(actor=None, connection=connection)
        asked += 1
    return asked


def _merge(connection: BroadworksConnection, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put `changes` on a connection (not saved); returns what an audit row may say of it."""
    plain = {name: value for name, value in changes.items() if name != "password"}
    for name in ("host", "imp_domain", "xmpp_host"):
        if isinstance(plain.get(name), str):
            plain[name] = plain[name].strip().lower().rstrip(".")
    before, after = apply_changes(connection, plain, allowed=PLAIN_FIELDS)
    if changes.get("password"):
        connection.password = changes["password"]
        after["password"] = "replaced"  # noqa: S105
    validate(connection, exclude={"imp_domain", "system_provider", "password"})
    _check_names(connection)
    return before, after


def _check_names(connection: BroadworksConnection) -> None:
    if not connection.host and not connection.imp_domain:
        raise invalid(imp_domain="The IM&P domain is needed.")
    if connection.imp_domain and not _HOST_NAME.fullmatch(connection.imp_domain):
        raise invalid(imp_domain="This is not a domain name.")
    for name in ("host", "xmpp_host"):
        require_host(getattr(connection, name), name)
    if connection.host and not (connection.username and connection.has_password):
        raise invalid(username="BroadWorks needs the login of an administrator, with its password.")
    if not connection.soap_path.startswith("/") or not connection.soap_path.isprintable():
        raise invalid(soap_path="The path starts with a slash.")
    if connection.xmpp_ca:
        try:
            ssl.create_default_context(cadata=connection.xmpp_ca)
        except (ssl.SSLError, ValueError, TypeError) as error:  # TypeError: it is not ASCII
            raise invalid(xmpp_ca="This is not a certificate in PEM format.") from error


def require_host(value: str, field: str) -> None:
    """Raises Problem `invalid` for what is neither empty nor the name or address of a server."""
    if value and not _HOST.fullmatch(value):
        raise invalid(**{field: "This is not the name or address of a server."})


def _probe(connection: BroadworksConnection) -> None:
    """Ask BroadWorks to let us in, and for its IM&P domain. No transaction may be open."""
    try:
        check_host(connection.xmpp_host or connection.imp_domain)
    except ForbiddenAddress as error:
        raise invalid(xmpp_host=str(error)) from error
    connection.status, connection.status_detail, connection.checked_at = "", "", clock.now()
    server = server_of(connection)
    if server is None:
        return
    try:
        system = run(server, commands.get_system_imp())
    except Refused as error:
        raise Problem("broadworks_refused", error.detail, status=400) from error
    except BroadworksError as error:
        raise broadworks_problem(error) from error
    connection.status = "connected"
    domain = system.domain.strip().lower()
    connection.imp_domain = connection.imp_domain or domain[:255]
    if not _HOST_NAME.fullmatch(connection.imp_domain):
        raise invalid(imp_domain="BroadWorks does not say which IM&P domain it has. Enter it.")
    if domain and domain != connection.imp_domain:
        connection.status_detail = f"BroadWorks has the IM&P domain {domain[:200]}."


def _secretly(connection: BroadworksConnection) -> tuple[Any, ...]:
    return tuple(readable(connection, name) for name in sorted(CONNECTION_FIELDS))


def _let_connect_again(connection: BroadworksConnection) -> None:
    """Sessions that gave up for good because of the server as it was."""
    accounts = ImpAccount.objects.filter(system_provider_id=connection.pk, status__in=TERMINAL)
    accounts.update(status=AccountStatus.OFFLINE, status_reason="", status_at=clock.now(), version=F("version") + 1)


def _name_accounts(connection: BroadworksConnection) -> None:
    """Who got the service before there was a domain gets the IM&P ID now."""
    nameless = ImpAccount.objects.filter(system_provider_id=connection.pk, imp_id="", work="")
    nameless.filter(assigned=True, enabled=True).update(work=Work.NAME, work_due_at=clock.now())
    run_soon(WORK_TASK)
