"""What the SMS gateway has in hand for XMPP clients: received texts, whose rows gateway_collecting makes, and what
became of those that users sent."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from cpaas.models import Attachment, Conversation, Message
from cpaas.models.attachments import AttachmentState
from cpaas.states import MessageStatus
from portal import clock
from portal.residents.leases import still_held
from portal.residents.resident import lease_name
from portal.sql import execute_planned, table_of
from xmpp.gateway_stanzas import Refusal
from xmpp.models import GatewayThread, ImpAccount, TextFromXmpp, TextToXmpp
from xmpp.states import GatewayState

GATEWAY = "sms-gateway"
_LATE = timedelta(seconds=60)
_KEPT = timedelta(days=7)
# So long a text is tried again that the server cannot take just now.
_TRIED_FOR = timedelta(days=1)
# A text that was in hand so often when the server ended the connection over one is the one.
_MOST_TRIES = 3
# Stanzas sent together.
_MOST = 200
_ENDED = (MessageStatus.DELIVERED, MessageStatus.UNDELIVERED, MessageStatus.FAILED)
_OPEN = (GatewayState.QUEUED, GatewayState.SENDING)
_AT_SERVER = (GatewayState.SENDING, GatewayState.SENT)
_NOTE_CONFIRMED = """
    WITH {rows}
    UPDATE xmpp_texttoxmpp SET state = 'delivered'
    WHERE state <> 'failed' AND id IN (
        SELECT t.id FROM rows JOIN xmpp_texttoxmpp t ON t.id = rows.stanza_id
        JOIN xmpp_impaccount a ON a.user_id = t.account_id AND lower(a.imp_id) = rows.jid
    )
"""


class Text(NamedTuple):
    """What is read of a message."""

    pk: uuid.UUID
    position: int
    status: str
    remote: str
    text: str
    file_count: int
    created_at: datetime


@dataclass(frozen=True)
class Turn:
    """A gateway while its lease has this epoch, which stands in the WHERE of all it writes."""

    system_provider_id: uuid.UUID
    epoch: int

    def holds(self) -> Exists:
        return still_held(lease_name(GATEWAY, self.system_provider_id), self.epoch)


@dataclass(frozen=True)
class ToSay:
    """A stanza to a user. `at` is None unless the text is late."""

    id: uuid.UUID
    jid: str
    remote: str
    text: str
    link: str
    at: datetime | None


@dataclass(frozen=True)
class Ending:
    """What became of a text that a client sent; `refusal` is None when it was delivered."""

    id: uuid.UUID
    jid: str
    remote: str
    stanza_id: str
    wants_receipt: bool
    refusal: Refusal | None


def files_of(message_id: uuid.UUID) -> QuerySet[Attachment]:
    return Attachment.objects.filter(message_id=message_id).order_by("position")


def claim(turn: Turn, limit: int = _MOST) -> list[ToSay]:
    """The next stanzas to send, oldest first, marked as in hand: queued ones, and what a former gateway left."""
    mine = TextToXmpp.objects.filter(account__system_provider_id=turn.system_provider_id)
    due = mine.filter(Q(state=GatewayState.QUEUED) | Q(state=GatewayState.SENDING) & ~Q(epoch=turn.epoch))
    on = due.filter(account__assigned=True, account__enabled=True)
    found = list(on.order_by("pk").values_list("pk", "tries")[:limit])
    ids = [key for key, _ in _without_suspects(found)]
    if not ids:
        return []
    open_rows = TextToXmpp.objects.filter(turn.holds(), pk__among=ids, state__in=_OPEN)
    open_rows.update(state=GatewayState.SENDING, epoch=turn.epoch)
    claimed = TextToXmpp.objects.filter(pk__among=ids, state=GatewayState.SENDING, epoch=turn.epoch)
    return _to_say(list(claimed.order_by("pk").values_list("pk", "message_id", "part", "account__imp_id")))


def _without_suspects(found: list[tuple[uuid.UUID, int]]) -> list[tuple[uuid.UUID, int]]:
    """As many of these as may go out together: one that the server may end the connection over goes alone."""
    first_suspect = next((n for n, (_, tries) in enumerate(found) if tries), len(found))
    return found[: first_suspect or 1]


def _to_say(rows: Sequence[tuple[uuid.UUID, uuid.UUID, int, str]]) -> list[ToSay]:
    """Of stanzas: id, message, part and the account's JID."""
    messages = {
        message.pk: message
        for message in map(Text._make, _messages([message_id for _, message_id, *_ in rows]).values_list(*Text._fields))
    }
    with_files = [message.pk for message in messages.values() if message.file_count]
    files = Attachment.objects.filter(message_id__among=with_files, state=AttachmentState.STORED) if with_files else ()
    links = {(file.message_id, file.position + 1): file.url for file in files}
    said = []
    for key, message_id, part, jid in rows:
        message, link = messages.get(message_id), links.get((message_id, part), "")
        if message is None or (part and not link):
            _fail(key, "The text was deleted.")
            continue
        is_late = clock.now() - message.created_at > _LATE
        at = message.created_at if is_late else None
        said.append(ToSay(key, jid, message.remote, _body(message), link, at))
    return said


def _messages(ids: list[uuid.UUID]) -> QuerySet[Message]:
    return Message.objects.filter(pk__among=ids)


def _body(message: Text) -> str:
    """The text, and a word on files that are not there."""
    missing = message.file_count and files_of(message.pk).exclude(state=AttachmentState.STORED).count()
    note = "(A file that came with this text could not be fetched.)" if missing else ""
    return "\n".join(part for part in (message.text, note) if part) or "(This text is empty.)"


def confirm(turn: Turn, ids: Collection[uuid.UUID]) -> None:
    """The server has these."""
    rows = TextToXmpp.objects.filter(turn.holds(), pk__among=list(ids), state=GatewayState.SENDING, epoch=turn.epoch)
    rows.update(state=GatewayState.SENT)


def release(turn: Turn) -> None:
    """The connection broke: what the server did not confirm goes out again, with the same ids."""
    rows = TextToXmpp.objects.filter(turn.holds(), state=GatewayState.SENDING, epoch=turn.epoch)
    rows.filter(account__system_provider_id=turn.system_provider_id).update(state=GatewayState.QUEUED)


def blame(turn: Turn) -> None:
    """The server ended the connection over one of the texts in hand: each goes out alone from now on, and the one over
    which it happens again and again is given up, so that it does not keep those of everybody else."""
    rows = TextToXmpp.objects.filter(turn.holds(), state=GatewayState.SENDING, epoch=turn.epoch)
    mine = rows.filter(account__system_provider_id=turn.system_provider_id)
    mine.update(tries=F("tries") + 1)
    error = "The XMPP server ended the connection over this text."
    mine.filter(tries__gte=_MOST_TRIES).update(state=GatewayState.FAILED, error=error)


def note_confirmed(confirmed: Sequence[tuple[str, uuid.UUID]]) -> None:
    """Clients with these bare JIDs have the stanzas with these ids. A receipt of anybody else says nothing."""
    table, values = table_of("rows", {"jid": "text", "stanza_id": "uuid"}, confirmed)
    execute_planned(_NOTE_CONFIRMED.format(rows=table), values)


def try_deferred_again(turn: Turn) -> None:
    """What a server could not take just now goes out again, for a day."""
    mine = TextToXmpp.objects.filter(
        turn.holds(), state=GatewayState.DEFERRED, account__system_provider_id=turn.system_provider_id
    )
    mine.filter(created_at__lt=clock.now() - _TRIED_FOR).update(state=GatewayState.FAILED)
    mine.update(state=GatewayState.QUEUED)


def note_bounced(jid: str, stanza_id: uuid.UUID, reason: str, *, is_final: bool = True) -> tuple[str, str] | None:
    """The user's server refused it, for now when it is not final. Returns JID and remote when the user is to be asked,
    for the first time, to let texts of that remote through: servers that pass on only what stands in the roster drop
    them (facts 5 #8)."""
    if not is_final:
        rows = TextToXmpp.objects.filter(pk=stanza_id, account__in=_accounts(jid), state__in=_AT_SERVER)
        rows.update(state=GatewayState.DEFERRED, error=reason[:300])
        return None
    row = TextToXmpp.objects.filter(pk=stanza_id, account__in=_accounts(jid)).select_related("account").first()
    if row is None or not _fail(row.pk, reason):
        return None
    if not GatewayThread.objects.filter(pk=row.conversation_id, hinted=False).update(hinted=True):
        return None
    remote = Message.objects.filter(pk=row.message_id).values_list("remote", flat=True).first()
    return (row.account.imp_id, remote) if remote else None


def _accounts(jid: str) -> QuerySet[ImpAccount]:
    return ImpAccount.objects.filter(imp_id__lower=jid)


def _fail(row_id: uuid.UUID, reason: str) -> bool:
    rows = TextToXmpp.objects.filter(pk=row_id).exclude(state__in=(GatewayState.DELIVERED, GatewayState.FAILED))
    return bool(rows.update(state=GatewayState.FAILED, error=reason[:300]))


def endings(turn: Turn, user_ids: Collection[uuid.UUID]) -> list[Ending]:
    """Texts of these members that were delivered or failed and whose clients do not know it yet."""
    of_tenant = TextFromXmpp.objects.filter(told=False, account__system_provider_id=turn.system_provider_id)
    rows = of_tenant.filter(account__among=list(user_ids))
    ended = rows.filter(Exists(Message.objects.filter(pk=OuterRef("message_id"), status__in=_ENDED)))
    found = list(ended.order_by("pk")[:_MOST])
    messages = Message.objects.in_bulk([row.message_id for row in found])
    return [_ending(row, messages[row.message_id]) for row in found if row.message_id in messages]


def _ending(row: TextFromXmpp, message: Message) -> Ending:
    refusal = None
    if message.status != MessageStatus.DELIVERED:
        why = message.error_text or "The carrier could not deliver it."
        refusal = Refusal("cancel", "recipient-unavailable", f"The text was not delivered. {why}")
    return Ending(row.pk, row.jid, row.remote, row.stanza_id, row.wants_receipt, refusal)


def note_told(turn: Turn, ids: Collection[uuid.UUID]) -> None:
    TextFromXmpp.objects.filter(turn.holds(), pk__among=list(ids)).update(told=True)


def tidy() -> int:
    """Forget what is a week old: texts stay in the portal, and nobody waits for a receipt any more."""
    old = clock.now() - _KEPT
    GatewayThread.objects.filter(~Exists(Conversation.objects.filter(pk=OuterRef("pk")))).delete()
    return sum(rows.filter(created_at__lt=old).delete()[0] for rows in (TextToXmpp.objects, TextFromXmpp.objects))
