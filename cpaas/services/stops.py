"""Who has stopped whom: a remote party's STOP and START for an own number, with evidence (R20).

A stop is the remote's own word. Nobody here lifts it: not staff, not the opt-in's reset, not the end of the number.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import QuerySet

from cpaas.keywords import Keyword
from cpaas.models import Conversation, CpaasNumber, Stop, StopEvidence
from portal import clock
from portal.events import News
from portal.ids import new_id
from portal.problems import Problem, conflict
from portal.services.audit import tenant_of
from portal.sql import as_uuid, execute, execute_planned, table_of

_MOST_HISTORY = 1000
# Of two words the later one counts, in whatever order they come: one may have waited in the spool (R37).
_STOP = """
    INSERT INTO cpaas_stop (
        id, created_at, tn, remote, stopped, keyword, carrier_code, message_id, reply_id, at,
        system_provider_id, reseller_id, group_id
    ) VALUES (
        %(id)s, %(at)s, %(tn)s, %(remote)s, true, %(keyword)s, %(carrier_code)s, %(message_id)s, NULL, %(at)s,
        %(system_provider_id)s, %(reseller_id)s, %(group_id)s
    )
    ON CONFLICT (system_provider_id, tn, remote) DO UPDATE SET
        stopped = true, keyword = excluded.keyword, carrier_code = excluded.carrier_code,
        message_id = excluded.message_id, reply_id = NULL, at = excluded.at,
        reseller_id = excluded.reseller_id, group_id = excluded.group_id
    WHERE NOT cpaas_stop.stopped AND cpaas_stop.at <= excluded.at
    RETURNING id
"""

_FIND_STOPPED = """
    WITH {rows}
    SELECT s.system_provider_id, s.tn, s.remote FROM rows JOIN cpaas_stop s
    ON s.system_provider_id = rows.system_provider_id AND s.tn = rows.tn AND s.remote = rows.remote
    WHERE s.stopped
"""


def stop_or_reopen(*, number: CpaasNumber, remote: str, keyword: Keyword, message_id: uuid.UUID, at: datetime) -> bool:
    """The remote wrote `keyword`, which stops the pair or opens it again; whether that changed anything.

    Runs in the caller's transaction, with the conversation locked.
    """
    if keyword.family == "stop":
        return _stop(number, remote, message_id, at, keyword=keyword.word)
    return _reopen(number, remote, message_id, at, keyword.word)


def stop_by_carrier(
    *, tn: str, remote: str, carrier_code: str, message_id: uuid.UUID, conversation_id: uuid.UUID, news: News
) -> bool:
    """The carrier refused a text because the remote told it STOP; whether that is news. In the caller's transaction."""
    number = CpaasNumber.objects.filter(number=tn).first()
    if number is None or not _stop(number, remote, message_id, clock.now(), carrier_code=carrier_code[:60]):
        return False
    user_id = Conversation.objects.filter(pk=conversation_id).values_list("user_id", flat=True).first()
    news.add(user_id, "conversation.updated", conversation_id)
    return True


def is_stopped(number: CpaasNumber, remote: str) -> bool:
    return _pair(number, remote).filter(stopped=True).exists()


def stopped_among(pairs: Collection[tuple[CpaasNumber, str]]) -> set[tuple[uuid.UUID, str]]:
    """Those of these own numbers and remote parties where the remote stopped the number; numbers by their id."""
    ids = {(number.system_provider_id, number.number): number.pk for number, _ in pairs}
    rows = {(number.system_provider_id, number.number, remote) for number, remote in pairs}
    table, values = table_of("rows", {"system_provider_id": "uuid", "tn": "text", "remote": "text"}, list(rows))
    found = execute_planned(_FIND_STOPPED.format(rows=table), values)
    return {(ids[as_uuid(tenant), tn], remote) for tenant, tn, remote in found}


def require_not_stopped(number: CpaasNumber, remote: str) -> None:
    """Raises Problem `remote_opted_out` (409)."""
    if is_stopped(number, remote):
        raise remote_opted_out()


def remote_opted_out() -> Problem:
    return conflict(
        "remote_opted_out",
        "This party has asked for no more texts from your number. Only a START from that telephone opens it again.",
    )


def keep_with_owner(number: CpaasNumber) -> None:
    """Call when a number got a new owner: its stops are shown to the staff of the group it belongs to now.

    Runs in the caller's transaction.
    """
    stops = Stop.objects.filter(system_provider_id=number.system_provider_id, tn=number.number)
    stops.update(reseller_id=number.reseller_id, group_id=number.group_id)


def history_of(stops: Sequence[Stop]) -> dict[uuid.UUID, list[StopEvidence]]:
    """The last changes of each pair, newest first, by the id of its stop."""
    pairs = {(stop.system_provider_id, stop.tn, stop.remote): stop.pk for stop in stops}
    tenants, tns, remotes = ({pair[place] for pair in pairs} for place in range(3))
    rows = StopEvidence.objects.filter(system_provider_id__in=tenants, tn__in=tns, remote__in=remotes)
    found: dict[uuid.UUID, list[StopEvidence]] = {key: [] for key in pairs.values()}
    for row in rows.order_by("-id")[:_MOST_HISTORY]:
        key = pairs.get((row.system_provider_id, row.tn, row.remote))
        if key is not None:
            found[key].append(row)
    return found


def answered_by(number: CpaasNumber, remote: str, reply_id: uuid.UUID) -> None:
    """`reply_id` is the answer to the stop that now stands: it alone may still go out (claiming.py)."""
    _pair(number, remote).filter(stopped=True).update(reply_id=reply_id)


def _pair(number: CpaasNumber, remote: str) -> QuerySet[Stop]:
    return Stop.objects.filter(system_provider_id=number.system_provider_id, tn=number.number, remote=remote)


def _stop(
    number: CpaasNumber,
    remote: str,
    message_id: uuid.UUID,
    at: datetime,
    *,
    keyword: str = "",
    carrier_code: str = "",
) -> bool:
    values = {
        "tn": number.number,
        "remote": remote,
        "keyword": keyword,
        "carrier_code": carrier_code,
        "message_id": message_id,
        **tenant_of(number),
    }
    if not execute(_STOP, {**values, "id": new_id(), "at": at}):
        return False
    StopEvidence.objects.create(created_at=at, number_id=number.pk, stopped=True, **values)
    return True


def _reopen(number: CpaasNumber, remote: str, message_id: uuid.UUID, at: datetime, keyword: str) -> bool:
    said = {"stopped": False, "keyword": keyword, "carrier_code": "", "message_id": message_id}
    if not _pair(number, remote).filter(stopped=True, at__lte=at).update(**said, at=at, reply_id=None):
        return False
    pair = {"tn": number.number, "remote": remote, "number_id": number.pk, **tenant_of(number)}
    StopEvidence.objects.create(created_at=at, **pair, **said)
    return True
