"""Weeks of texting for a demo number, written as the rows that the services would have left behind."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from io import BytesIO

from django.conf import settings
from django.utils import timezone
from PIL import Image, ImageOps

from cpaas.demo.scripts import CONVERSATIONS, Text
from cpaas.models import Attachment, Attempt, Conversation, CpaasNumber, Message, OptInEvidence
from cpaas.models.attachments import AttachmentState
from cpaas.segments import count_segments
from cpaas.services.attachments import write_files
from cpaas.services.opt_in import prompt_text
from cpaas.services.queueing import enqueue
from portal.ids import new_id_at
from portal.services import audit

_ACCEPTED_BEFORE = timedelta(days=45)
_HANDED_OVER = timedelta(seconds=1)
_ARRIVED = timedelta(seconds=4)
_NEVER_SENT = ("failed", "unknown")


class Historian:
    """Writes what happened in the past of one tenant, whose clock times are those of `zone`."""

    def __init__(self, zone: str) -> None:
        self._zone = zone
        self._now = timezone.now()

    def accept(self, number: CpaasNumber) -> None:
        """The user's *Yes*, some weeks ago, with its evidence."""
        assert number.user is not None
        number.opt_in_at = self._now - _ACCEPTED_BEFORE
        number.save(update_fields=["opt_in_at"])
        OptInEvidence.objects.create(
            id=new_id_at(number.opt_in_at),
            created_at=number.opt_in_at,
            number_id=number.pk,
            tn=number.number,
            cycle=number.opt_in_cycle,
            answer="yes",
            user_id=number.user.pk,
            user_name=number.user.name,
            user_login=number.user.login,
            **audit.actor_of(number.user),
            prompt_text=prompt_text(number),
            client="Unity Desktop",
            **audit.tenant_of(number),
        )

    def write(self, number: CpaasNumber) -> None:
        """All conversations of `number`. Must run inside a transaction."""
        for (own, remote), texts in CONVERSATIONS.items():
            if own == number.number:
                self._conversation(number, remote, texts)

    def _conversation(self, number: CpaasNumber, remote: str, texts: tuple[Text, ...]) -> None:
        times = [text.when.at(self._now, self._zone) for text in texts]
        shown = [at for at, text in zip(times, texts, strict=True) if text.status not in ("held", "suppressed")]
        received = [at for at, text in zip(times, texts, strict=True) if text.status == "received"]
        conversation = Conversation(
            id=new_id_at(times[0]),
            created_at=times[0],
            number=number,
            remote=remote,
            user=number.user,
            last_message_at=max(shown, default=None),
            last_received_at=max(received, default=None),
            message_count=len(texts),
            new_count=sum(text.unread for text in texts),
        )
        conversation.save(force_insert=True)
        for at, text in zip(times, texts, strict=True):
            conversation.last_position += 1
            message = self._message(conversation, text, at)
            if text.direction == "out":
                self._attempts(conversation, message, text)
            if text.picture:
                _add_picture(message, text.picture)
            if not text.unread:
                conversation.read_position = conversation.last_position
        conversation.save(update_fields=["last_position", "read_position"])
        if number.media_stream_id and conversation.new_count:
            enqueue(media_stream_id=number.media_stream_id, conversation_id=conversation.pk, since=max(received))

    def _message(self, conversation: Conversation, text: Text, at: datetime) -> Message:
        counted = count_segments(text.text)
        return Message.objects.create(
            id=new_id_at(at),
            created_at=at,
            conversation=conversation,
            number=conversation.number,
            user=conversation.user,
            position=conversation.last_position,
            direction=text.direction,
            status=text.status,
            kind="mms" if text.picture else "sms",
            file_count=1 if text.picture else 0,
            remote=conversation.remote,
            text=text.text,
            encoding=counted.encoding,
            segments=counted.segments,
            characters=counted.characters,
            sid=str(uuid.uuid4()) if text.direction == "in" else "",
            error_code=text.error[0],
            error_text=text.error[1],
            sent_at=at + _HANDED_OVER if text.direction == "out" and text.status not in _NEVER_SENT else None,
            delivered_at=at + _ARRIVED if text.status == "delivered" else None,
        )

    def _attempts(self, conversation: Conversation, message: Message, text: Text) -> None:
        """The attempts of a text: those that went wrong, then the one whose status it shows."""
        tries = [*text.tries, (text.status, *text.error)]
        for n, (status, code, error) in enumerate(tries, start=1):
            if n > 1:
                conversation.last_position += 1
            at = message.created_at + timedelta(minutes=10 * (n - 1))
            Attempt.objects.create(
                id=new_id_at(at),
                created_at=at,
                message=message,
                conversation_id=conversation.pk,
                platform_id=conversation.number.platform_id,
                n=n,
                position=conversation.last_position,
                status=status,
                sid="" if status == "unknown" else str(uuid.uuid4()),
                error_code=code,
                error_text=error,
                tries=1,
                sending_at=at,
                expires_at=at + timedelta(seconds=settings.QUEUE_TTL_S),
                # Looked up as often as it is worth, and still open.
                checks=len(settings.RECHECK_S),
                changed_at=at + _ARRIVED,
            )


def _add_picture(message: Message, name: str) -> None:
    """A sunset, as it came with `message`."""
    content = BytesIO()
    ImageOps.colorize(Image.linear_gradient("L").resize((640, 480)), "midnightblue", "gold", "orangered").save(
        content, "JPEG"
    )
    file = Attachment(
        id=new_id_at(message.created_at),
        created_at=message.created_at,
        message=message,
        number=message.number,
        user=message.user,
        state=AttachmentState.STORED,
        name=name,
        content_type="image/jpeg",
        size=content.tell(),
        sent_as="mms",
        tries=1,
    )
    write_files(file, content)
    file.save(force_insert=True)
