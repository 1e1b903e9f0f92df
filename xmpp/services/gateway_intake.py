"""Texts that users write in an XMPP client: the same rules as everywhere, because it is the same service that sends."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from cpaas.models import Conversation, CpaasNumber, Message
from cpaas.services.sending import Outgoing, only_number, send_messages
from cpaas.states import NumberStatus
from portal import clock
from portal.ids import new_id
from portal.models import EndUser, UserSettings
from portal.problems import Problem
from portal.sql import as_uuid, execute_planned, table_of
from xmpp.gateway_stanzas import Refusal, Written
from xmpp.models import ImpAccount
from xmpp.services.gateway_collecting import pass_over
from xmpp.services.gateway_members import accounts_on
from xmpp.stanzas import bare

NOT_LINKED = Refusal(
    "auth",
    "registration-required",
    "This account cannot send texts here: it belongs to no user of the portal whose Integrated IM&P is on.",
)
USED_ID = Refusal("modify", "conflict", "The id of this message was used for another text before. Send it once more.")
# A refusal says what to do in its sentence; the condition is for programs.
_CONDITIONS = {
    "empty": ("modify", "bad-request"),
    "invalid": ("modify", "bad-request"),
    "invalid_number": ("cancel", "item-not-found"),
    "too_long": ("modify", "policy-violation"),
    "from_required": ("modify", "not-acceptable"),
    "rate_limited": ("wait", "resource-constraint"),
}
_LONGEST_JID = 1100
_TAKEN = {
    "id": "uuid",
    "created_at": "timestamptz",
    "account_id": "uuid",
    "jid": "text",
    "remote": "text",
    "stanza_id": "text",
    "wants_receipt": "boolean",
    "message_id": "uuid",
}
_INSERT_TAKEN = f"""
    WITH {{rows}}
    INSERT INTO xmpp_textfromxmpp ({", ".join(_TAKEN)}, told) SELECT {", ".join(_TAKEN)}, false FROM rows
"""  # noqa: S608 - made of constants
_FIND_KNOWN = """
    WITH {rows}
    SELECT t.account_id, t.stanza_id, t.remote, t.message_id FROM rows JOIN xmpp_textfromxmpp t
    ON t.account_id = rows.account_id AND t.stanza_id = rows.stanza_id AND t.stanza_id <> ''
"""


@dataclass(frozen=True)
class _Taken:
    """A stanza that has become this message."""

    remote: str
    message_id: uuid.UUID


@dataclass(frozen=True)
class _Facts:
    """What is known of the senders of a batch: their accounts by bare JID, stanzas of the batch that were taken before
    by account and id, and by user the numbers and the settings."""

    accounts: Mapping[str, ImpAccount]
    known: Mapping[tuple[uuid.UUID, str], _Taken]
    numbers: Mapping[uuid.UUID, Sequence[CpaasNumber]]
    settings: Mapping[uuid.UUID, UserSettings]


def account_of(system_provider_id: uuid.UUID, jid: str) -> ImpAccount | None:
    """The account with that bare JID, if it may use the gateway."""
    found = accounts_on(system_provider_id).filter(imp_id__lower=bare(jid))
    return found.select_related("user").defer("password").first()


def take_texts(*, system_provider_id: uuid.UUID, texts: Sequence[Written]) -> list[Refusal | None]:
    """Queue texts in their order, each as the user that its sender is; None for one that is queued, also when it was
    already.

    The row that a stanza has become a message is written with the message: the same stanza again, whoever hears it,
    changes nothing.
    """
    accounts = _accounts_of(system_provider_id, texts)
    answers: list[Refusal | None] = []
    for batch in _without_repeats(texts):
        answers += _take_batch(accounts, batch)
    return answers


def _accounts_of(system_provider_id: uuid.UUID, texts: Sequence[Written]) -> dict[str, ImpAccount]:
    """The accounts that may use the gateway, by their bare JIDs."""
    found = accounts_on(system_provider_id).filter(imp_id__lower__in={bare(text.sender) for text in texts})
    rows = found.select_related("user").defer("password", "pending_password")
    return {row.imp_id.lower(): row for row in rows}


def _without_repeats(texts: Sequence[Written]) -> Iterator[list[Written]]:
    """Batches in which no stanza is there twice."""
    batch: list[Written] = []
    seen: set[tuple[str, str]] = set()
    for text in texts:
        stanza = (bare(text.sender), text.key)
        if text.key and stanza in seen:
            yield batch
            batch, seen = [], set()
        batch.append(text)
        seen.add(stanza)
    yield batch


def _take_batch(accounts: Mapping[str, ImpAccount], texts: Sequence[Written]) -> list[Refusal | None]:
    try:
        return _take_together(accounts, texts)
    except (IntegrityError, Problem):
        # Another worker took one of them at this moment, or a number is just being deleted.
        return [_take_alone(accounts, text) for text in texts]


def _take_alone(accounts: Mapping[str, ImpAccount], text: Written) -> Refusal | None:
    try:
        return _take_together(accounts, [text])[0]
    except IntegrityError:
        return _take_together(accounts, [text])[0]  # which finds it now
    except Problem as problem:
        return _refusal(problem)


def _take_together(accounts: Mapping[str, ImpAccount], texts: Sequence[Written]) -> list[Refusal | None]:
    """All in one transaction. Raises IntegrityError, Problem when only each by itself can be taken."""
    facts = _facts(accounts, texts)
    found = [_outgoing(text, facts) for text in texts]
    outgoing = [(text, each) for text, each in zip(texts, found, strict=True) if isinstance(each, Outgoing)]
    sent = iter(_send(outgoing) if outgoing else [])
    return [next(sent) if isinstance(each, Outgoing) else each for each in found]


def _facts(accounts: Mapping[str, ImpAccount], texts: Sequence[Written]) -> _Facts:
    theirs = {account.pk for account in map(accounts.get, (bare(text.sender) for text in texts)) if account}
    numbers: dict[uuid.UUID, list[CpaasNumber]] = {key: [] for key in theirs}
    rows = CpaasNumber.objects.filter(user__among=list(theirs)).exclude(status=NumberStatus.REMOVING)
    for row in rows.select_related("platform__system_provider").order_by("pk") if theirs else ():
        assert row.user_id is not None
        numbers[row.user_id].append(row)
    settings = UserSettings.objects.in_bulk(theirs)
    return _Facts(accounts, _known(accounts, texts), numbers, settings)


def _known(accounts: Mapping[str, ImpAccount], texts: Sequence[Written]) -> dict[tuple[uuid.UUID, str], _Taken]:
    """The stanzas of these that have become messages before."""
    theirs = [(accounts.get(bare(text.sender)), text.key) for text in texts]
    rows = [(account.pk, key) for account, key in theirs if account and key]
    if not rows:
        return {}
    table, values = table_of("rows", {"account_id": "uuid", "stanza_id": "text"}, rows)
    found = execute_planned(_FIND_KNOWN.format(rows=table), values)
    return {(as_uuid(account), key): _Taken(remote, as_uuid(message)) for account, key, remote, message in found}


def _outgoing(text: Written, facts: _Facts) -> Outgoing | Refusal | None:
    """What is to be sent; else the answer."""
    account = facts.accounts.get(bare(text.sender))
    if account is None:
        return NOT_LINKED
    known = facts.known.get((account.pk, text.key))
    if known is not None:
        return None if _is_same(known, text) else USED_ID
    user = account.user
    try:
        number = _number_for(user, facts.numbers[user.pk], text.remote)
    except Problem as problem:
        return _refusal(problem)
    return Outgoing(user, number, text.remote, text.body, (), facts.settings.get(user.pk) or UserSettings(user=user))


def _send(outgoing: Sequence[tuple[Written, Outgoing]]) -> list[Refusal | None]:
    with transaction.atomic():
        sent = send_messages([each for _, each in outgoing])
        rows = [
            _row(text, each.user.pk, message.pk)
            for (text, each), message in zip(outgoing, sent, strict=True)
            if isinstance(message, Message)
        ]
        if rows:
            table, values = table_of("rows", _TAKEN, rows)
            execute_planned(_INSERT_TAKEN.format(rows=table), values)
            pass_over(_positions(sent))
    return [_refusal(each) if isinstance(each, Problem) else None for each in sent]


def _positions(sent: Sequence[Message | Problem]) -> dict[tuple[uuid.UUID, uuid.UUID], list[int]]:
    """Where these stand in their conversations, by conversation and user."""
    found: dict[tuple[uuid.UUID, uuid.UUID], list[int]] = defaultdict(list)
    for message in sent:
        if isinstance(message, Message) and message.user_id is not None:
            found[message.conversation_id, message.user_id].append(message.position)
    return found


def _row(text: Written, account_id: uuid.UUID, message_id: uuid.UUID) -> tuple[Any, ...]:
    """In the order of `_TAKEN`."""
    jid = text.sender if len(text.sender) <= _LONGEST_JID else bare(text.sender)
    return new_id(), clock.now(), account_id, jid, text.remote, text.key, text.wants_receipt, message_id


def _number_for(user: EndUser, own: Sequence[CpaasNumber], remote: str) -> CpaasNumber:
    """The user's only number, or the one last used with that remote. Raises Problem `from_required`."""
    try:
        return only_number(own)
    except Problem as problem:
        if problem.code != "from_required":
            raise
    usable = Conversation.objects.filter(number__user=user, remote=remote).exclude(number__status=NumberStatus.REMOVING)
    last = usable.order_by("-last_message_at").select_related("number__platform").first()
    if last is not None:
        return last.number
    raise Problem(
        "from_required",
        f"You have several numbers, and none was used with {remote} yet. Send the first text from the portal; "
        "answers from here then go out from the same number.",
    )


def _is_same(known: _Taken, text: Written) -> bool:
    """Clients that count their ids begin anew at times; of what was deleted nobody can tell."""
    stored = Message.objects.filter(pk=known.message_id).values_list("text", flat=True).first()
    return known.remote == text.remote and stored in (None, text.body)


def _refusal(problem: Problem) -> Refusal:
    if problem.afterwards is not None:
        problem.afterwards()
    type, condition = _CONDITIONS.get(problem.code, ("cancel", "not-allowed"))
    return Refusal(type, condition, problem.detail)  # type: ignore[arg-type]
