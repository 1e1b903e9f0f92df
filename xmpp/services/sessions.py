"""The accounts a bridge has to keep online, and how their sessions stand."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Mod

from portal import clock
from portal.encryption import readable
from portal.events import News
from portal.sql import as_uuid, execute_planned, table_of
from xmpp.models import ArchivedStanza, ImpAccount
from xmpp.owner import Account
from xmpp.services.members import abandoned_shards
from xmpp.services.ownership import HELD_SQL, held_values, lock_accounts
from xmpp.services.standing import NOBODY
from xmpp.states import LIVE, AccountStatus

SETTLED_TOGETHER = 500
# The server's clock and ours, and between a message's arrival there and its being stored here.
CLOCKS_DIFFER = timedelta(days=2)

# Asked every second.
_VERSIONS = """
    WITH {held}
    SELECT a.user_id, a.version, b.version FROM xmpp_impaccount a
    JOIN portal_enduser u ON u.id = a.user_id
    JOIN xmpp_broadworksconnection b ON b.system_provider_id = a.system_provider_id
    WHERE a.slot %% %(shards)s IN (SELECT shard FROM held) AND a.assigned AND a.enabled AND u.is_active
        AND a.password <> '' AND a.imp_id <> '' AND a.status <> %(refused)s
"""
# Reconnecting may go on for hours with ever the same reason: what is as before is not told again.
_NOTE_STATUSES = f"""
    WITH {{rows}}
    UPDATE xmpp_impaccount AS a SET status = rows.status, status_reason = rows.reason, status_at = rows.at
    FROM rows WHERE a.user_id = rows.account_id AND {HELD_SQL}
        AND (a.status <> rows.status OR a.status_reason <> rows.reason)
        AND (rows.version IS NULL OR rows.version = a.version AND rows.of_server = (
            SELECT c.version FROM xmpp_broadworksconnection c WHERE c.system_provider_id = a.system_provider_id
        ))
    RETURNING user_id
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class StatusChange:
    """How the session of an account stands now, and why in words for its user. `version` is what the session
    was made of (`Account.version`); None stands for any."""

    account_id: uuid.UUID
    status: AccountStatus
    reason: str
    version: tuple[int, int] | None = None


def versions_of(shards: Collection[int]) -> dict[uuid.UUID, tuple[int, int]]:
    """The accounts of these shards that shall be online, with what changes when a session must begin anew.

    Those are on, have a password that the server did not refuse, and a server.
    """
    table, values = table_of("held", {"shard": "integer"}, [(shard,) for shard in shards])
    values |= {"shards": settings.XMPP_SHARDS, "refused": AccountStatus.AUTHENTICATION_FAILED}
    rows = execute_planned(_VERSIONS.format(held=table), values) if shards else []
    return {as_uuid(key): (version, of_server) for key, version, of_server in rows}


def accounts(ids: Collection[uuid.UUID]) -> list[Account]:
    """These accounts with what a session needs."""
    rows = ImpAccount.objects.filter(pk__among=list(ids)).select_related("system_provider__broadworks")
    known = _cursor_times(ids)
    rows = rows.defer("system_provider__broadworks__password")
    return [_account(row, known.get(row.pk, row.created_at) - CLOCKS_DIFFER) for row in rows]


def _cursor_times(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    """When the messages came at which the cursors of these accounts stand, as far as they are known."""
    rows = ArchivedStanza.objects.filter(account__among=list(ids), stanza_id=F("account__archive_cursor"))
    return dict(rows.values_list("account_id", "message__at"))


def _account(row: ImpAccount, since: datetime) -> Account:
    connection = row.system_provider.broadworks
    return Account(
        id=row.pk,
        jid=row.imp_id.lower(),
        password=readable(row, "password"),
        host=connection.xmpp_host,
        port=connection.xmpp_port,
        authority=connection.xmpp_ca,
        cursor=row.archive_cursor,
        # Without one there was nobody who could have heard it.
        begins=row.password_set_at,
        since=since,
        slot=row.slot,
        version=(row.version, connection.version),
    )


def note_statuses(changes: Collection[StatusChange], holder: str) -> None:
    """Store how sessions stand and tell their users (S0.13, S0.16). Of an account that is another's now, or has changed
    since, nothing: a refusal of the former password would keep the new one from being tried."""
    now = clock.now()
    rows = [
        (change.account_id, change.status, change.reason[:300], now, *(change.version or (None, None)))
        for change in changes
    ]
    if not rows:
        return
    columns = {"account_id": "uuid", "status": "text", "reason": "text", "at": "timestamptz"}
    columns |= {"version": "integer", "of_server": "integer"}
    table, values = table_of("rows", columns, rows)
    with transaction.atomic():
        lock_accounts([change.account_id for change in changes])
        news = News()
        for (key,) in execute_planned(_NOTE_STATUSES.format(rows=table), {**values, **held_values(holder)}):
            news.add(as_uuid(key), "xmpp.updated", as_uuid(key))
        news.write()


def settle_unserved() -> None:
    """What nobody keeps online any more is offline, or disabled: switched off, without a password, deactivated."""
    unwanted = Q(assigned=False) | Q(enabled=False) | Q(user__is_active=False)
    idle = Q(password="") | Q(system_provider__broadworks__isnull=True)
    with transaction.atomic():
        news, now = News(), clock.now()
        for status, condition in ((AccountStatus.DISABLED, unwanted), (AccountStatus.OFFLINE, ~unwanted & idle)):
            wrong = ImpAccount.objects.filter(condition).filter(status__in=LIVE).values_list("pk", flat=True)
            ids = list(wrong[:500])
            ImpAccount.objects.filter(pk__in=ids).update(status=status, status_reason="", status_at=now)
            for key in ids:
                news.add(key, "xmpp.updated", key)
        news.write()


def settle_abandoned() -> None:
    """Accounts of which nobody keeps the session any more are offline, and their users are told: the bridges that had
    them did not say that they ended. A bridge that comes back says how they stand then."""
    while _settle_some_abandoned() == SETTLED_TOGETHER:
        pass


def _settle_some_abandoned() -> int:
    live = ImpAccount.objects.filter(status__in=LIVE).alias(shard=Mod(F("slot"), settings.XMPP_SHARDS))
    with transaction.atomic():
        found = live.filter(shard__in=abandoned_shards()).order_by("pk").values_list("pk", flat=True)
        ids = list(found[:SETTLED_TOGETHER])
        # A bridge that takes a shard now says how its accounts stand after us, since it locks them too. One that took
        # it before we had the lock is seen here.
        lock_accounts(ids)
        lost = list(live.filter(shard__in=abandoned_shards(), pk__in=ids).values_list("pk", flat=True))
        news = News()
        for key in lost:
            news.add(key, "xmpp.updated", key)
        ImpAccount.objects.filter(pk__in=lost).update(
            status=AccountStatus.OFFLINE, status_reason=NOBODY, status_at=clock.now()
        )
        news.write()
    return len(ids)


def leave(account_ids: Collection[uuid.UUID], holder: str) -> None:
    """These sessions end with their worker, which stops in order; the next one takes them up."""
    changes = [StatusChange(key, AccountStatus.OFFLINE, "The bridge is being restarted.") for key in account_ids]
    note_statuses(changes, holder)
