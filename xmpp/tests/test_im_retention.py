"""Retention of instant messages: 90 days from when they were sent or came in (R18)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from portal.models import EndUser, UserSettings
from portal.tests.factories import EndUserFactory, device_token
from presence.services.online import note_online
from xmpp.models import ArchivedStanza, ImConversation, ImMessage, ImParticipant, ImReceiver, XmppDelivery
from xmpp.services.retention import purge
from xmpp.services.sending import send_message
from xmpp.tests.messaging import get, go_offline

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


def aged(days: int, user: EndUser, *others: EndUser) -> ImMessage:
    """A message of so many days ago."""
    message = send_message(user=user, to=[str(other.pk) for other in others], text=f"{days} days ago")
    at = timezone.now() - timedelta(days=days)
    ImMessage.objects.filter(pk=message.pk).update(created_at=at)
    return message


def test_r18_old_messages_go_with_all_that_hangs_on_them(mary: EndUser, tom: EndUser) -> None:
    old, kept = aged(91, mary, tom), aged(89, mary, tom)
    for message in (old, kept):
        ArchivedStanza.objects.create(account_id=mary.pk, stanza_id=str(message.pk), message=message)
    assert purge(dry_run=True).as_dict() == {"instant_messages": 1, "im_conversations": 0}
    assert ImMessage.objects.count() == 2
    assert purge().as_dict() == {"instant_messages": 1, "im_conversations": 0}
    assert ImMessage.objects.get() == kept
    assert XmppDelivery.objects.get().message == ArchivedStanza.objects.get().message == kept
    assert ImParticipant.objects.get(user=tom).new_count == 1


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_r18_a_conversation_in_which_nothing_is_left_vanishes(mary: EndUser, tom: EndUser, batch: int) -> None:
    ann = EndUserFactory(group=mary.group)
    note_online([tom.pk, ann.pk])
    for _ in range(3):
        aged(91, mary, tom)
    aged(91, mary, tom, ann)
    aged(1, mary, ann)
    assert purge(dry_run=True).as_dict() == {"instant_messages": 4, "im_conversations": 2}
    assert purge(batch=batch).as_dict() == {"instant_messages": 4, "im_conversations": 2}
    assert ImConversation.objects.count() == 1
    assert not ImReceiver.objects.exists()


def test_who_sees_nothing_of_what_is_left_has_no_conversation(api: Any, mary: EndUser, tom: EndUser) -> None:
    """The only message left went by XMPP alone."""
    aged(91, mary, tom)
    UserSettings.objects.filter(pk=mary.pk).update(im_priority="xmpp")
    aged(1, mary, tom)
    purge()
    assert [len(get(api(device_token(user)), "im/conversations/")["results"]) for user in (mary, tom)] == [1, 0]


def test_a_member_of_a_group_loses_what_went_before_they_did(api: Any, mary: EndUser, tom: EndUser) -> None:
    ann = EndUserFactory(group=mary.group)
    note_online([tom.pk, ann.pk])
    aged(91, mary, tom, ann)
    go_offline(ann)
    aged(1, mary, tom, ann)
    purge()
    found = [get(api(device_token(user)), "im/conversations/")["results"] for user in (tom, ann)]
    assert [len(rows) for rows in found] == [1, 0]
    assert found[0][0]["new_count"] == 1


def test_the_command_counts_and_removes_instant_messages_too(
    mary: EndUser, tom: EndUser, capsys: pytest.CaptureFixture[str]
) -> None:
    """Contracts section 1: the same code as the daily task."""
    aged(89, mary, tom)
    as_of = (timezone.now() + timedelta(days=2)).isoformat()
    call_command("purge", "--as-of", as_of, "--dry-run")
    counted = json.loads(capsys.readouterr().out)
    assert (counted["instant_messages"], counted["im_conversations"]) == (1, 1)
    call_command("purge", "--as-of", as_of)
    assert json.loads(capsys.readouterr().out) == counted
    assert not ImConversation.objects.exists()
