"""Outbound texts: checked, stored as queued, and left to the dispatcher (S1.20, S1.24–S1.27, R22, R33)."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction

from cpaas.models import Attachment, Attempt, Conversation, CpaasNumber, Message
from cpaas.segments import count_segments
from cpaas.services.agents import is_agent_of
from cpaas.services.attachments import attach, pack
from cpaas.services.destinations import check_destination, parse_remote
from cpaas.services.limits import spend_segments
from cpaas.services.queueing import require_reserved
from cpaas.services.stops import require_not_stopped
from cpaas.services.threads import take_place
from cpaas.states import RESENDABLE, MessageStatus, NumberStatus, OptInState
from portal import clock
from portal.events import News, wake
from portal.models import EndUser
from portal.phone_numbers import InvalidNumber, parse_number
from portal.problems import Problem, conflict, invalid, not_found
from portal.scoping import parse_id

LONGEST_TEXT = 1600
_ALLOWED_CONTROLS = "\n\r\t"


def choose_number(*, user: EndUser, value: str | None) -> CpaasNumber:
    """The own number to send from: by id, by telephone number, or the only one when left out (S1.27).

    A media stream's number is only ever named: leaving it out means one's own.

    Raises Problem `from_required`, `number_not_enabled`, `not_found`.
    """
    numbers = CpaasNumber.objects.visible_to(user).exclude(status=NumberStatus.REMOVING).select_related("platform")
    if value:
        key = parse_id(value)
        return _named(numbers.filter(pk=key).first() if key else numbers.filter(number=_e164(value)).first())
    found = list(numbers.filter(user=user)[:2])
    if not found:
        raise conflict("number_not_enabled", "You have no number for text messaging. Ask your administrator for one.")
    if len(found) > 1:
        raise Problem(
            "from_required",
            "You have several numbers. Say which one to send from.",
            errors={"from": ["Choose one of your numbers."]},
        )
    return found[0]


def send_message(
    *, user: EndUser, number: CpaasNumber, to: object, text: str, attachments: Sequence[Attachment] = ()
) -> Message:
    """Queue one text, with files as MMS or behind links (S1.37, S4.5). From here on it is the dispatcher's: it is sent
    once, or ends in a state that says why not.

    Raises Problem `invalid_number`, `several_recipients`, `empty`, `too_long`, `number_not_enabled`, `not_licensed`,
    `opt_in_pending`, `opt_in_declined`, `remote_opted_out`, `not_a_known_mobile`, `destination_not_allowed`,
    `unknown_attachment`, `rate_limited`, and of a media stream's number `not_reserved` (S4.3).
    """
    _check_text(text, empty_is_fine=bool(attachments))
    remote = parse_remote(user=user, number=number, to=to)
    require_sendable(number, user)
    check_destination(user=user, number=number, remote=remote)
    with transaction.atomic():
        # Under the number's lock: it cannot be deleted, reset or declined between this check and our commit.
        row = lock_number(number.pk)
        require_sendable(row, user)
        if row.media_stream_id:
            reserved = Conversation.objects.select_for_update().filter(number=row, remote=remote).first()
            require_reserved(user=user, conversation=reserved)
        require_not_stopped(row, remote)
        parcel = pack(number=row, text=text, files=attachments)
        _check_text(parcel.text, empty_is_fine=bool(attachments))
        spend_segments(number=row, segments=count_segments(parcel.text).segments)
        message = queue_text(
            number=row, remote=remote, text=parcel.text, kind=parcel.kind, file_count=len(parcel.files)
        )
        attach(parcel, message)
        news = News()
        news.add(user.pk, "message.created", message.pk)
        news.add(user.pk, "conversation.updated", message.conversation_id)
        news.write()
    return message


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
        _queue(row, number, n=last + 1, position=conversation.last_position)
        row.status, row.error_code, row.error_text = MessageStatus.QUEUED, "", ""
        row.save(update_fields=["status", "error_code", "error_text"])
        news = News()
        news.add(user.pk, "message.updated", row.pk)
        news.write()
        transaction.on_commit(lambda: wake("dispatch"), robust=True)
    return row


def queue_text(*, number: CpaasNumber, remote: str, text: str, kind: str = "sms", file_count: int = 0) -> Message:
    """Store a text from `number` as queued, whoever wants it sent. Whether it may be is the caller's to check.

    Runs in the caller's transaction, which holds the number locked or shared, and wakes the dispatcher when it is over.
    """
    now = clock.now()
    place = take_place(
        number_id=number.pk,
        user_id=number.user_id,
        remote=remote,
        at=now,
        visible=True,
        send_through=number.platform_id,
    )
    counted = count_segments(text)
    message = Message.objects.create(
        created_at=now,
        conversation_id=place.conversation_id,
        number=number,
        user_id=place.user_id,
        position=place.position,
        direction="out",
        status=MessageStatus.QUEUED,
        kind=kind,
        remote=remote,
        text=text,
        file_count=file_count,
        encoding=counted.encoding,
        segments=counted.segments,
        characters=counted.characters,
    )
    _queue(message, number, n=1, position=place.position)
    transaction.on_commit(lambda: wake("dispatch"), robust=True)
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
    row = (
        CpaasNumber.objects.select_for_update(no_key=True, of=("self",))
        .select_related("platform__system_provider")
        .filter(pk=number_id)
        .first()
    )
    if row is None:
        raise not_found("CPaaS number")
    return row


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


def _queue(message: Message, number: CpaasNumber, *, n: int, position: int) -> Attempt:
    ttl = timedelta(seconds=number.platform.option("queue_ttl_s"))
    return Attempt.objects.create(
        message=message,
        conversation_id=message.conversation_id,
        platform_id=number.platform_id,
        n=n,
        position=position,
        expires_at=clock.now() + ttl,
    )
