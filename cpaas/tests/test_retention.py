"""The 90-day purge (S1.21, R18)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from cpaas.models import Attempt, Conversation, Message, OptInEvidence, WebhookEvent
from cpaas.services.retention import purge
from cpaas.tests.factories import (
    ConversationFactory,
    MessageFactory,
)
from portal.models import IdempotencyKey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


def aged(days: float, conversation: Conversation | None = None, **more: object) -> Message:
    message = MessageFactory(conversation=conversation or ConversationFactory(), **more)
    Message.objects.filter(pk=message.pk).update(created_at=timezone.now() - timedelta(days=days))
    return message


def test_day_91_goes_and_day_89_stays() -> None:
    gone, kept = aged(91), aged(89)
    report = purge()
    assert report.messages == 1
    assert list(Message.objects.values_list("pk", flat=True)) == [kept.pk]
    assert not Conversation.objects.filter(pk=gone.conversation_id).exists()
    assert Conversation.objects.filter(pk=kept.conversation_id).exists()


def test_a_conversation_lives_as_long_as_its_newest_message() -> None:
    conversation = ConversationFactory()
    aged(91, conversation)
    aged(1, conversation)
    before = Conversation.objects.get(pk=conversation.pk).message_count
    purge()
    assert Conversation.objects.get(pk=conversation.pk).message_count == before - 1 == 1


def test_everything_that_holds_a_piece_of_a_message_goes_with_it() -> None:
    message = aged(91, direction="in", status="received", sid="abc")
    outbound = aged(91)
    platform = message.number.platform
    event = {"platform": platform, "body_digest": "d", "body": b"the words", "state": "applied"}
    WebhookEvent.objects.create(nonce="1", sid="abc", **event)
    WebhookEvent.objects.create(nonce="2", sid="other", **event)
    IdempotencyKey.objects.create(owner=message.pk, path="p", key="k", body_digest="d", object_id=outbound.pk)
    purge()
    assert not Attempt.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert list(WebhookEvent.objects.values_list("sid", flat=True)) == ["other"]


def test_raw_events_are_kept_14_days() -> None:
    platform = ConversationFactory().number.platform
    for days in (13, 15):
        row = WebhookEvent.objects.create(
            platform=platform, nonce=str(days), body_digest="d", body=b"", state="unassigned"
        )
        WebhookEvent.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(days=days))
    purge()
    assert list(WebhookEvent.objects.values_list("nonce", flat=True)) == ["13"]


def test_small_batches_remove_the_same() -> None:
    conversation = ConversationFactory()
    for _ in range(7):
        aged(91, conversation)
    assert purge(batch=2).messages == 7
    assert not Conversation.objects.exists()


def test_the_command_takes_a_clock_and_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    aged(89)
    half_old = aged(89).conversation
    kept = aged(1, half_old)
    as_of = (timezone.now() + timedelta(days=2)).isoformat()
    call_command("purge", "--as-of", as_of, "--dry-run")
    counted = json.loads(capsys.readouterr().out)
    texts = {"messages": 2, "conversations": 1, "webhook_events": 0, "attachments": 0}
    assert counted == {**texts, "instant_messages": 0, "im_conversations": 0}
    assert Message.objects.count() == 3
    call_command("purge", "--as-of", as_of)
    assert json.loads(capsys.readouterr().out) == counted
    assert Message.objects.get() == kept
    assert not OptInEvidence.objects.exists()


def test_unread_texts_that_go_are_no_longer_counted_as_new() -> None:
    conversation = ConversationFactory()
    for days in (93, 92, 91, 1):
        aged(days, conversation, direction="in", status="received")
    Conversation.objects.update(read_position=1, new_count=3)
    purge()
    found = Conversation.objects.get()
    assert (found.message_count, found.new_count) == (1, 1)


def test_a_conversation_of_which_only_suppressed_texts_stay_is_no_longer_shown() -> None:
    shown, hidden = ConversationFactory(), ConversationFactory()
    for conversation in (shown, hidden):
        aged(91, conversation)
        aged(1, conversation, direction="in", status="suppressed")
    aged(1, shown)
    for conversation in (shown, hidden):
        last = Message.objects.filter(conversation=conversation).exclude(status="suppressed").latest("position")
        Conversation.objects.filter(pk=conversation.pk).update(last_message_at=last.created_at)
    purge()
    assert Conversation.objects.get(pk=shown.pk).last_message_at is not None
    found = Conversation.objects.get(pk=hidden.pk)
    assert (found.last_message_at, found.message_count) == (None, 1)


def test_texts_of_the_same_moment_go_together() -> None:
    conversation = ConversationFactory()
    for _ in range(5):
        aged(91, conversation)
    Message.objects.update(created_at=timezone.now() - timedelta(days=91))
    assert purge(batch=2).messages == 5
