"""Outbound texts: checked, stored as queued, and left to the dispatcher (S1.20, S1.24–S1.27, R22, R33)."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import transaction

from cpaas.models import Attachment, Attempt, Conversation, CpaasNumber, Message
from cpaas.segments import count_segments
from cpaas.services.agents import is_agent_of
from cpaas.services.attachments import Parcel, attach, pack
from cpaas.services.destinations import check_destination, parse_remote
from cpaas.services.limits import Spending, spend_segments
from cpaas.services.outgoing_rows import Draft, attempt_of, insert_attempts, queue_drafts
from cpaas.services.queueing import require_reserved
from cpaas.services.stops import remote_opted_out, require_not_stopped, stopped_among
from cpaas.states import RESENDABLE, MessageStatus, NumberStatus, OptInState
from portal import clock
from portal.events import News, wake
from portal.models import EndUser, UserSettings
from portal.phone_numbers import InvalidNumber, parse_number
from portal.problems import Problem, conflict, invalid, not_found
from portal.scoping import parse_id
from portal.services.session import settings_of

LONGEST_TEXT = 1600
_ALLOWED_CONTROLS = "\n\r\t"
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outgoing:
    """A text that `user` wants sent from `number` to what was typed as `to`. `settings` are the user's."""

    user: EndUser
    number: CpaasNumber
    to: object
    text: str
    attachments: Sequence[Attachment]
    settings: UserSettings


@dataclass(frozen=True)
class _Checked:
    """A text that may be sent as far as can be said without a lock, and its remote party."""

    text: Outgoing
    remote: str


def choose_number(*, user: EndUser, value: str | None) -> CpaasNumber:
    """The own number to send from: by id, by telephone number, or the only one when left out (S1.27).

    A media stream's number is only ever named: leaving it out means one's own.

    Raises Problem `from_required`, `number_not_enabled`, `not_found`.
    """
    numbers = CpaasNumber.objects.visible_to(user).exclude(status=NumberStatus.REMOVING).select_related("platform")
    if value:
        key = parse_id(value)
        return _named(numbers.filter(pk=key).first() if key else numbers.filter(number=_e164(value)).first())
    return only_number(list(numbers.filter(user=user)[:2]))


def only_number(own: Sequence[CpaasNumber]) -> CpaasNumber:
    """The one to send from when a user names none. Raises Problem `from_required`, `number_not_enabled`."""
    if not own:
        raise conflict("number_not_enabled", "You have no number for text messaging. Ask your administrator for one.")
    if len(own) > 1:
        raise Problem(
            "from_required",
            "You have several numbers. Say which one to send from.",
            errors={"from": ["Choose one of your numbers."]},
        )
    return own[0]


def send_message(
    *, user: EndUser, number: CpaasNumber, to: object, text: str, attachments: Sequence[Attachment] = ()
) -> Message:
    """Queue one text, with files as MMS or behind links (S1.37, S4.5). From here on it is the dispatcher's: it is sent
    once, or ends in a state that says why not.

    Raises Problem `invalid_number`, `several_recipients`, `empty`, `too_long`, `number_not_enabled`, `not_licensed`,
    `opt_in_pending`, `opt_in_declined`, `remote_opted_out`, `not_a_known_mobile`, `destination_not_allowed`,
    `unknown_attachment`, `rate_limited`, and of a media stream's number `not_reserved` (S4.3).
    """
    [sent] = send_messages([Outgoing(user, number, to, text, attachments, settings_of(user))])
    if isinstance(sent, Problem):
        raise sent
    return sent


def send_messages(texts: Sequence[Outgoing]) -> list[Message | Problem]:
    """Queue texts in their order, all in one transaction and in about as many statements as one takes. For each its
    message, or the Problem that `send_message` raises.

    Files go with a lone text only; `unknown_attachment`, that they are taken already, is raised.
    """
    refused: dict[int, Problem] = {}
    checked = _sift(dict(enumerate(texts)), _check, refused)
    queued = _queue_checked(checked, refused) if checked else {}
    return [refused.get(n) or queued[n] for n in range(len(texts))]


def _sift(items: Mapping[int, T], check: Callable[[T], R], refused: dict[int, Problem]) -> dict[int, R]:
    """What `check` returns of each; the Problems that it raises go to `refused`."""
    found = {}
    for n, item in items.items():
        try:
            found[n] = check(item)
        except Problem as problem:
            refused[n] = problem
    return found


def _check(text: Outgoing) -> _Checked:
    """What needs no lock."""
    _check_text(text.text, empty_is_fine=bool(text.attachments))
    remote = parse_remote(user=text.user, number=text.number, to=text.to, settings=text.settings)
    require_sendable(text.number, text.user)
    check_destination(user=text.user, number=text.number, remote=remote, settings=text.settings)
    return _Checked(text, remote)


@transaction.atomic
def _queue_checked(checked: Mapping[int, _Checked], refused: dict[int, Problem]) -> dict[int, Message]:
    """Under the numbers' locks: none can be deleted, reset or declined between the last checks and our commit."""
    numbers = _lock_numbers({each.text.number.pk for each in checked.values()})
    stopped = stopped_among([(numbers[each.text.number.pk], each.remote) for each in checked.values()])
    spending = Spending(list(numbers.values()))
    drafts = _sift(checked, lambda each: _draft(each, numbers[each.text.number.pk], stopped, spending), refused)
    if not drafts:
        return {}
    spending.write()
    messages = dict(zip(drafts, queue_drafts(list(drafts.values())), strict=True))
    news = News()
    for n, message in messages.items():
        attach(drafts[n].parcel, message)
        user_id = checked[n].text.user.pk
        news.add(user_id, "message.created", message.pk)
        news.add(user_id, "conversation.updated", message.conversation_id)
    news.write()
    return messages


def _draft(
    each: _Checked, number: CpaasNumber, stopped: Collection[tuple[uuid.UUID, str]], spending: Spending
) -> Draft:
    """A text that may be sent by all rules, its segments spent."""
    text, remote = each.text, each.remote
    require_sendable(number, text.user)
    if number.media_stream_id:
        reserved = Conversation.objects.select_for_update().filter(number=number, remote=remote).first()
        require_reserved(user=text.user, conversation=reserved)
    if (number.pk, remote) in stopped:
        raise remote_opted_out()
    parcel = pack(number=number, text=text.text, files=text.attachments)
    _check_text(parcel.text, empty_is_fine=bool(text.attachments))
    spending.spend(number=number, segments=count_segments(parcel.text).segments)
    return Draft(number, remote, parcel)


def resend_message(*, user: EndUser, message: Message) -> Message:
    """A new attempt of a text that failed, was not delivered, or whose fate is unknown (S1.43, R22).

    Raises Problem `not_resendable` (409) and what `send_message` raises of number, opt-in, licence, STOP and limits.
    """
    with transaction.atomic():
        number = lock_number(message.number_id)
        require_sendable(number, user)
        require_not_stopped(number, message.remote)
        conversation = Conversation.objects.select_for_update().filter(pk=message.conversation_id).first()
        row = Message.objects.select_for_update().filter(pk=message.pk).first()
        if conversation is None or row is None:
            raise not_found("Message")
        if number.media_stream_id:
            require_reserved(user=user, conversation=conversation)
        if row.direction != "out" or row.status not in RESENDABLE:
            raise conflict("not_resendable", f"Only a failed text can be sent again; this one is {row.status}.")
        spend_segments(number=number, segments=row.segments)
        now = clock.now()
        conversation.last_position += 1
        conversation.outbox_at = conversation.outbox_at or now
        conversation.outbox_platform = number.platform_id
        conversation.save(update_fields=["last_position", "outbox_at", "outbox_platform"])
        last = Attempt.objects.filter(message=row).order_by("-n").values_list("n", flat=True).first() or 0
        insert_attempts([attempt_of(row, number, n=last + 1, position=conversation.last_position)])
        row.status, row.error_code, row.error_text = MessageStatus.QUEUED, "", ""
        row.save(update_fields=["status", "error_code", "error_text"])
        news = News()
        news.add(user.pk, "message.updated", row.pk)
        news.write()
        transaction.on_commit(lambda: wake("dispatch"), robust=True)
    return row


def queue_text(*, number: CpaasNumber, remote: str, text: str) -> Message:
    """Store a text from `number` as queued, whoever wants it sent. Whether it may be is the caller's to check.

    Runs in the caller's transaction, which holds the number locked or shared, and wakes the dispatcher when it is over.
    """
    [message] = queue_drafts([Draft(number, remote, Parcel(text))])
    return message


def preview_message(
    *, user: EndUser, number: CpaasNumber, to: object, text: str, attachments: Sequence[Attachment] = ()
) -> dict[str, Any]:
    """What a text would be on the wire, the links of its files counted: alphabet, segments, and the first character
    that forces UCS-2. Raises Problem `invalid_number`, `too_long`."""
    _check_text(text, empty_is_fine=True)
    remote = parse_remote(user=user, number=number, to=to)
    parcel = pack(number=number, text=text, files=attachments)
    _check_text(parcel.text, empty_is_fine=True)
    counted = count_segments(parcel.text)
    return {
        "to": remote,
        "kind": parcel.kind,
        "encoding": counted.encoding,
        "segments": counted.segments,
        "characters": counted.characters,
        "culprit": counted.culprit,
        "attachments": [{"id": str(row.pk), "as": row.sent_as} for row in parcel.files],
    }


def require_sendable(number: CpaasNumber, user: EndUser) -> None:
    """Raises the Problem that keeps `number` from sending now; the dispatcher asks the same again (R33)."""
    is_theirs = is_agent_of(user, number.media_stream_id) if number.media_stream_id else number.user_id == user.pk
    if not is_theirs or number.status == NumberStatus.REMOVING:
        raise not_found("CPaaS number")
    if not (user.is_licensed and user.is_active):
        raise conflict("not_licensed", "You have no client licence. Ask your administrator for one.")
    if number.status != NumberStatus.ENABLED:
        raise conflict("number_not_enabled", f"{number.display} is not yet enabled for text messaging.")
    if number.opt_in_state == OptInState.DECLINED:
        raise conflict(
            "opt_in_declined", "You declined text messaging for this number. Your administrator can reset it."
        )
    if number.opt_in_state in (OptInState.PENDING, OptInState.POSTPONED):
        raise conflict("opt_in_pending", "Confirm first that you want to use text messaging with this number.")


def lock_number(number_id: uuid.UUID) -> CpaasNumber:
    """The number as it is now, kept from being deleted or reset until commit. Raises Problem `not_found`."""
    return _lock_numbers({number_id})[number_id]


def _lock_numbers(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, CpaasNumber]:
    rows = CpaasNumber.objects.select_for_update(no_key=True, of=("self",)).filter(pk__among=list(ids))
    found = {row.pk: row for row in rows.select_related("platform__system_provider").order_by("pk")}
    if len(found) < len(ids):
        raise not_found("CPaaS number")
    return found


def _named(number: CpaasNumber | None) -> CpaasNumber:
    if number is None:
        raise not_found("CPaaS number")
    return number


def _e164(value: str) -> str:
    try:
        return parse_number(value)
    except InvalidNumber:
        return ""


def _check_text(text: str, *, empty_is_fine: bool = False) -> None:
    """Raises Problem `empty`, `too_long`, `invalid` (characters that no phone can show)."""
    if not text.strip() and not empty_is_fine:
        raise Problem("empty", "Write a text first.", errors={"text": ["Write a text first."]})
    if len(text) > LONGEST_TEXT:
        sentence = f"A text may have at most {LONGEST_TEXT} characters with its links; this one has {len(text)}."
        raise Problem("too_long", sentence, errors={"text": [sentence]})
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in _ALLOWED_CONTROLS:
            raise invalid(text=f"The character U+{ord(character):04X} cannot be sent.")
