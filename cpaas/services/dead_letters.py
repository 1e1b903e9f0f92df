"""Dead letters: calls with a text to no number of ours, and calls that could not be read. They are kept as long as all
calls, and can be replayed once the number is there or the parser is mended (J4)."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from django.db import IntegrityError, transaction

from cpaas.carriers.base import InboundText, UnreadableWebhook, WebhookRequest
from cpaas.carriers.base import WebhookEvent as CarrierEvent
from cpaas.carriers.registry import get_carrier
from cpaas.models import WebhookEvent
from cpaas.models.webhook_events import DEAD
from cpaas.services.inbound import receive_text
from cpaas.services.receipts import apply_receipt
from portal import clock
from portal.events import News
from portal.ids import new_id
from portal.logs import get_logger
from portal.problems import Problem, conflict
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.sql import execute

logger = get_logger(__name__)
# A sender that cannot be read fills no disk: so many calls a platform, so much of each.
MOST_UNREADABLE = 500
LARGEST_KEPT = 64 * 1024
_KEEP = """
    INSERT INTO cpaas_webhookevent (
        id, created_at, platform_id, nonce, body_digest, body, content_type, sid, state, word, sender, recipient, text
    ) SELECT %(id)s, %(at)s, %(platform_id)s, %(nonce)s, %(digest)s, %(body)s, %(content_type)s, '', 'unreadable',
             '', '', '', ''
    WHERE (
        SELECT count(*) FROM (
            SELECT 1 FROM cpaas_webhookevent
            WHERE platform_id = %(platform_id)s AND state = 'unreadable' LIMIT %(most)s
        ) kept
    ) < %(most)s
    ON CONFLICT (platform_id, nonce) DO NOTHING
"""


def keep_unreadable(*, platform_id: uuid.UUID, request: WebhookRequest) -> None:
    """Keep an authenticated call that no parser could read; the same one only once, and no more than so many."""
    digest = hashlib.sha256(request.body).hexdigest()
    execute(
        _KEEP,
        {
            "id": new_id(),
            "at": clock.now(),
            "platform_id": platform_id,
            # No carrier's nonce, so that the call can come again and be taken in.
            "nonce": f"unreadable {digest}",
            "digest": digest,
            "body": request.body[:LARGEST_KEPT],
            "content_type": request.content_type[:100],
            "most": MOST_UNREADABLE,
        },
    )


def replay(*, actor: Actor, call: WebhookEvent) -> WebhookEvent:
    """Take a dead letter in now, as if the carrier called again; the text counts from when it came.

    Twice, or in parallel with the carrier's own repetition, changes nothing more. Raises Problem `read_only`,
    `already_replayed`, `unreadable`, `unassigned` (409) while there is still nobody to get it, or one of its texts.
    """
    require_writer(actor)
    row = WebhookEvent.objects.select_related("platform").filter(pk=call.pk, state__in=DEAD).first()
    if row is None:
        raise _already_replayed()
    request = WebhookRequest({}, bytes(row.body), row.content_type)
    try:
        events = get_carrier(row.platform.carrier).parse_webhook(row.platform.account(), request)
    except UnreadableWebhook as error:
        raise conflict("unreadable", f"This call still cannot be read: {error.detail}") from error
    outcomes = {_apply(row, event) for event in events}
    if "unassigned" in outcomes:
        number = row.recipient or "Its number"
        raise conflict("unassigned", f"{number} is still no CPaaS number of this platform. Add it first.")
    with transaction.atomic():
        taken: dict[str, Any] = {
            "state": "replayed",
            "sid": events[0].sid[:100],
            "sender": "",
            "recipient": "",
            "text": "",
        }
        if len(events) > 1:
            taken["body"] = b""  # it would go with one of its texts only (R18)
        if not WebhookEvent.objects.filter(pk=row.pk, state__in=DEAD).update(**taken):
            raise _already_replayed()
        audit.record(actor, "replay", row.platform, after={"call": str(row.pk), "outcome": sorted(outcomes)})
    row.refresh_from_db()
    return row


def _apply(call: WebhookEvent, event: CarrierEvent) -> str:
    """One transaction for each event, as when it came (webhook_intake.py)."""
    try:
        return _apply_once(call, event)
    except IntegrityError:
        # The carrier repeated the same text between our look and our insert: now we find it there.
        return _apply_once(call, event)


def _apply_once(call: WebhookEvent, event: CarrierEvent) -> str:
    with transaction.atomic():
        news = News()
        if isinstance(event, InboundText):
            outcome = receive_text(platform_id=call.platform_id, text=event, news=news, at=call.created_at)
        else:
            outcome = apply_receipt(platform_id=call.platform_id, receipt=event, news=news)
        news.write()
    return outcome


def _already_replayed() -> Problem:
    return conflict("already_replayed", "This call has been taken in already.")
