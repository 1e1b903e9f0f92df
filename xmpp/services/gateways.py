"""The SMS gateway of a system provider: where its component connects, and how that stands."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction

from portal import clock
from portal.addresses import ForbiddenAddress, check_host
from portal.encryption import readable
from portal.events import wake
from portal.models import Lease, SystemProvider
from portal.outside import refuse_open_transaction
from portal.problems import Problem, conflict, invalid
from portal.residents.leases import living
from portal.residents.resident import lease_name
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.changes import apply_changes, validate
from xmpp.models import SmsGateway
from xmpp.services.connections import require_host
from xmpp.states import GatewayStatus

# The topic that gateways listen to.
GATEWAY_TOPIC = "sms-gateway"
SECRET_UNDECRYPTABLE = "The secret cannot be decrypted. Set it anew."  # noqa: S105 - a sentence
_FIELDS = {"enabled", "domain", "host", "port"}
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})+")
_SECRET = re.compile(r"[!-~]{8,200}")
_NOT_ONE = "The secret has 8 to 200 letters, digits and signs, without spaces."


@dataclass(frozen=True)
class Settings:
    """What a gateway connects with. `secret` None: it cannot be decrypted. `may_be_private`: the host may lead into our
    own network."""

    domain: str
    host: str
    port: int
    secret: str | None = field(repr=False)
    version: int
    may_be_private: bool


def create_gateway(
    *,
    actor: Actor | None,
    system_provider: SystemProvider,
    domain: str,
    host: str,
    secret: str,
    port: int = 5347,
    enabled: bool = True,
) -> SmsGateway:
    """Set up the gateway of a system provider. It connects by itself; `test_gateway` says at once whether it can.

    Raises Problem `invalid`, `exists` (409), `domain_not_available` (409).
    """
    require_writer(actor)
    _require_none(system_provider)
    gateway = SmsGateway(
        system_provider=system_provider, domain=domain.lower(), host=host, port=port, secret=secret, enabled=enabled
    )
    gateway.host_by_operator = _is_operator(actor)
    _check(gateway)
    try:
        with transaction.atomic():
            SystemProvider.objects.select_for_update().get(pk=system_provider.pk)
            _require_none(system_provider)
            gateway.save(force_insert=True)
            after = {name: getattr(gateway, name) for name in sorted(_FIELDS)}
            audit.record(actor, "create", gateway, after=after)
            transaction.on_commit(_wake, robust=True)
    except IntegrityError:
        raise _taken() from None
    return gateway


def update_gateway(*, actor: Actor | None, gateway: SmsGateway, changes: Mapping[str, Any]) -> SmsGateway:
    """Change it; a blank secret keeps the stored one (R9). It connects anew.

    Raises Problem `invalid`, `domain_not_available` (409).
    """
    require_writer(actor)
    plain = {name: value for name, value in changes.items() if name != "secret"}
    if "domain" in plain:
        plain["domain"] = str(plain["domain"]).lower()
    secret = changes.get("secret") or ""
    draft = SmsGateway.objects.get(pk=gateway.pk)
    _merge(actor, draft, plain, secret)
    _check(draft)
    try:
        with transaction.atomic():
            row = SmsGateway.objects.select_for_update().get(pk=gateway.pk)
            before, after = _merge(actor, row, plain, secret)
            if not after:
                return row
            row.version += 1
            row.status = row.status_detail = ""
            row.save()
            audit.record(actor, "update", row, before=before, after=after)
            transaction.on_commit(_wake, robust=True)
    except IntegrityError:
        raise _taken() from None
    return row


def delete_gateway(*, actor: Actor | None, gateway: SmsGateway) -> None:
    """Texts are no longer passed on; what is in the portal stays."""
    require_writer(actor)
    with transaction.atomic():
        audit.record(actor, "delete", gateway, before={"domain": gateway.domain, "host": gateway.host})
        SmsGateway.objects.filter(pk=gateway.pk).delete()
        transaction.on_commit(_wake, robust=True)


def test_gateway(*, actor: Actor | None, gateway: SmsGateway) -> SmsGateway:
    """Connect as the gateway would and remember what the server said. Raises nothing for its no.

    While the gateway itself is online that is the answer: a second connection would end the first. A worker that was
    killed may have left that word, but no lease.
    """
    require_writer(actor)
    refuse_open_transaction()
    row = SmsGateway.objects.get(pk=gateway.pk)
    if row.status == GatewayStatus.ONLINE and row.enabled and _has_worker(row):
        return row
    status, detail = asyncio.run(_probe(_settings(row)))
    note_status(row.pk, row.version, status, detail)
    return SmsGateway.objects.get(pk=row.pk)


def _has_worker(row: SmsGateway) -> bool:
    return Lease.objects.filter(living(), name=lease_name("sms-gateway", row.pk)).exists()


async def _probe(settings: Settings) -> tuple[GatewayStatus, str]:
    # Imported when it is needed: web processes seldom do, and slixmpp is large.
    from xmpp.component import Component, Refused, Unreachable

    if settings.secret is None:
        return GatewayStatus.REFUSED, SECRET_UNDECRYPTABLE
    component = Component(
        domain=settings.domain,
        secret=settings.secret,
        host=settings.host,
        port=settings.port,
        listener=_Deaf(),
        may_be_private=settings.may_be_private,
    )
    try:
        await component.open()
    except Refused as error:
        return GatewayStatus.REFUSED, str(error)
    except Unreachable as error:
        return GatewayStatus.UNREACHABLE, str(error)
    finally:
        component.cut()
    return GatewayStatus.CONNECTING, "The server took the gateway; it will be online in a moment."


class _Deaf:
    """A test takes nothing in: what comes at that moment is answered by no one, and the client may write again."""

    def on_message(self, stanza: Any) -> None:
        return

    def on_presence(self, stanza: Any) -> None:
        return


def settings_of(system_provider_id: uuid.UUID) -> Settings | None:
    """What to connect with; None while there is no gateway, or it is off."""
    row = SmsGateway.objects.filter(pk=system_provider_id, enabled=True).first()
    return _settings(row) if row is not None else None


def note_status(system_provider_id: uuid.UUID, version: int, status: GatewayStatus, detail: str = "") -> None:
    """How the connection stands, unless the settings have changed meanwhile."""
    rows = SmsGateway.objects.filter(pk=system_provider_id, version=version)
    rows.update(status=status, status_detail=detail[:300], checked_at=clock.now())


def note_off(system_provider_id: uuid.UUID) -> None:
    rows = SmsGateway.objects.filter(pk=system_provider_id, enabled=False).exclude(status=GatewayStatus.DISABLED)
    rows.update(status=GatewayStatus.DISABLED, status_detail="", checked_at=clock.now())


def _settings(row: SmsGateway) -> Settings:
    return Settings(row.domain, row.host, row.port, readable(row, "secret"), row.version, row.host_by_operator)


def _is_operator(actor: Actor | None) -> bool:
    return actor is None or actor.actor_level == "operator"


def _merge(
    actor: Actor | None, row: SmsGateway, plain: Mapping[str, Any], secret: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    before, after = apply_changes(row, plain, allowed=_FIELDS)
    if "host" in after:
        row.host_by_operator = _is_operator(actor)
    if secret and secret != readable(row, "secret"):
        row.secret = secret
        after["credentials"] = "replaced: secret"
    return before, after


def _check(gateway: SmsGateway) -> None:
    if not _DOMAIN.fullmatch(gateway.domain):
        raise invalid(domain="Give a domain such as sms.example.com.")
    secret = readable(gateway, "secret")
    if secret is None:
        raise invalid(secret=SECRET_UNDECRYPTABLE)
    if not _SECRET.fullmatch(secret):
        raise Problem("invalid", _NOT_ONE, errors={"secret": [_NOT_ONE]})
    if not 1 <= gateway.port <= 65535:
        raise invalid(port="A port is a number from 1 to 65535.")
    require_host(gateway.host, "host")
    validate(gateway)
    # Components speak without TLS, so they are near; but only the operator knows what else is near.
    if not gateway.host_by_operator:
        try:
            check_host(gateway.host)
        except ForbiddenAddress as error:
            raise invalid(host=f"{error} Ask the operator to set it.") from error


def _require_none(system_provider: SystemProvider) -> None:
    if SmsGateway.objects.filter(pk=system_provider.pk).exists():
        raise conflict("exists", "This system provider has a gateway already. Change that one.")


def _taken() -> Problem:
    return conflict("domain_not_available", "This domain is not available. Choose another one.")


def _wake() -> None:
    wake(GATEWAY_TOPIC)
