"""One authenticated webhook call: kept raw, made harmless when repeated, applied (contracts section 3)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from cpaas.carriers.base import InboundText, Receipt, WebhookEvent, WebhookRequest
from cpaas.services import inbound_statement
from cpaas.services.group_commit import GroupCommit
from cpaas.services.held import look_again
from cpaas.services.inbound import receive_text
from cpaas.services.inbound_statement import PlainCall, Taken
from cpaas.services.receipts import apply_parked, apply_receipt
from portal import clock
from portal.events import News
from portal.ids import new_id, new_id_at
from portal.problems import Problem
from portal.sql import execute

_KEEP = """
    INSERT INTO cpaas_webhookevent (
        id, created_at, platform_id, nonce, body_digest, body, content_type, sid, state, word, sender, recipient, text
    ) VALUES (
        %(call_id)s, %(at)s, %(platform_id)s, %(nonce)s, %(digest)s, %(body)s, %(content_type)s, %(call_sid)s,
        'applied', %(word)s, '', '', ''
    )
    ON CONFLICT (platform_id, nonce) DO NOTHING RETURNING id
"""
_DIGEST = "SELECT body_digest FROM cpaas_webhookevent WHERE platform_id = %s AND nonce = %s"
# So many calls in one statement; their bodies have at most 1 MB each.
_plain_calls: GroupCommit[PlainCall, Taken] = GroupCommit(inbound_statement.receive, most=32)
_STATE = """
    UPDATE cpaas_webhookevent
    SET state = %(state)s, sender = %(sender)s, recipient = %(recipient)s, text = %(text)s WHERE id = %(id)s
"""


def take_in(
    *,
    platform_id: uuid.UUID,
    nonce: str,
    request: WebhookRequest,
    events: Sequence[WebhookEvent],
    received_at: datetime | None = None,
) -> None:
    """Store and apply one call, all or nothing. A replay changes nothing.

    `received_at` is when the carrier called, now unless the call waited in the spool (R37).

    Raises Problem `forbidden_webhook` (403) for a nonce seen with another body, which only a forger sends.
    """
    at = received_at or clock.now()
    # Lists are in the order of ids: what waited in the spool stands where it would have stood.
    call_id, message_id = (new_id_at(at), new_id_at(at)) if received_at else (new_id(), new_id())
    call = _call(call_id, nonce, request, events)
    try:
        _apply(platform_id, call, events, at, message_id)
    except IntegrityError:
        # A parallel replay stored the same text between our look and our insert: now we find it there.
        _apply(platform_id, call, events, at, message_id)


def _call(call_id: uuid.UUID, nonce: str, request: WebhookRequest, events: Sequence[WebhookEvent]) -> dict[str, Any]:
    """The call as it is kept. A carrier without nonces repeats itself with the same body."""
    digest = hashlib.sha256(request.body).hexdigest()
    return {
        "call_id": call_id,
        "nonce": (nonce or digest)[:200],
        "digest": digest,
        "body": request.body,
        "content_type": request.content_type[:100],
        "call_sid": events[0].sid[:100] if events else "",
        "word": next((event.word[:60] for event in events if isinstance(event, Receipt)), ""),
    }


def _apply(
    platform_id: uuid.UUID,
    call: Mapping[str, Any],
    events: Sequence[WebhookEvent],
    at: datetime,
    message_id: uuid.UUID,
) -> None:
    if inbound_statement.is_possible(events):
        text = events[0]
        assert isinstance(text, InboundText)
        taken = _plain_calls.store(PlainCall(platform_id, call, text, at, message_id))
        if not taken.new:
            _require_same_body(platform_id, call)
        if taken.held_for is not None:
            look_again(taken.held_for)
        return
    states = _apply_in_steps(platform_id, call, events, at)
    if "parked" in states:
        apply_parked(platform_id, [event.sid for event in events])


def _apply_in_steps(
    platform_id: uuid.UUID, call: Mapping[str, Any], events: Sequence[WebhookEvent], at: datetime
) -> set[str]:
    with transaction.atomic():
        if not execute(_KEEP, {**call, "platform_id": platform_id, "at": at}):
            _require_same_body(platform_id, call)
            return set()
        news = News()
        states = {_apply_event(platform_id, event, news, at) for event in events}
        news.write()
        if "applied" not in states:
            state = min(states)
            execute(_STATE, {"state": state, "id": call["call_id"], **_said(state, events)})
    return states


def _said(state: str, events: Sequence[WebhookEvent]) -> dict[str, str]:
    """What is kept beside the body of a call whose texts came to no number of ours."""
    texts = [event for event in events if isinstance(event, InboundText)] if state == "unassigned" else []
    if not texts:
        return {"sender": "", "recipient": "", "text": ""}
    recipient = min(texts[0].recipients, default="")
    return {"sender": texts[0].sender[:32], "recipient": recipient[:32], "text": texts[0].text}


def _apply_event(platform_id: uuid.UUID, event: WebhookEvent, news: News, at: datetime) -> str:
    if isinstance(event, InboundText):
        return receive_text(platform_id=platform_id, text=event, news=news, at=at)
    return apply_receipt(platform_id=platform_id, receipt=event, news=news)


def _require_same_body(platform_id: uuid.UUID, call: Mapping[str, Any]) -> None:
    rows = execute(_DIGEST, [platform_id, call["nonce"]])
    if rows and rows[0][0] != call["digest"]:
        raise Problem("forbidden_webhook", "This message id was already used for something else.", status=403)
