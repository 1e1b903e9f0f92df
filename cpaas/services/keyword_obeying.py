"""What happens when a remote party writes STOP or START (R20). The text itself is delivered like any other."""

from __future__ import annotations

import uuid
from datetime import datetime

from cpaas.keywords import Keyword
from cpaas.models import CpaasNumber
from cpaas.services.sending import queue_text
from cpaas.services.stops import answered_by, stop_or_reopen
from portal.events import News


def obey_keyword(
    *, number_id: uuid.UUID, remote: str, keyword: Keyword, message_id: uuid.UUID, at: datetime, news: News
) -> None:
    """Stop the pair or open it again, and answer a stop once where the platform has words for it.

    All in the caller's transaction, which stores the text too: what stops is not lost, and not answered twice, whoever
    is killed when. The caller has told of the conversation already.
    """
    number = CpaasNumber.objects.select_related("platform", "user").get(pk=number_id)
    changed = stop_or_reopen(number=number, remote=remote, keyword=keyword, message_id=message_id, at=at)
    words = number.platform.option("stop_reply")
    if not (changed and keyword.family == "stop" and words and number.is_usable):
        return
    reply = queue_text(number=number, remote=remote, text=words)
    answered_by(number, remote, reply.pk)
    news.add(reply.user_id, "message.created", reply.pk)
    news.add(reply.user_id, "conversation.updated", reply.conversation_id)
