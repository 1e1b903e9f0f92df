"""After a restore nothing is sent twice and no client misses what came (R32, architecture section 5)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from cpaas.carriers.base import LookUpMatch
from cpaas.models import Attempt, Conversation
from cpaas.services.sending import send_message
from cpaas.services.sweeping import claim_look_ups, store_look_up
from cpaas.tests.factories import CpaasNumberFactory
from cpaas.tests.running import claim_texts
from portal.events.reading import Wanted, read
from portal.ids import new_id
from portal.models import EndUser, EventStream, Lease
from portal.services.tokens import device_of_token
from portal.tests.factories import EndUserFactory, device_token

pytestmark = [pytest.mark.core, pytest.mark.django_db]
REMOTE = "+17036089795"


def test_r32_what_waited_is_unknown_and_no_dispatcher_takes_it() -> None:
    number = CpaasNumberFactory()
    for text in ("one", "two"):
        send_message(user=number.user, number=number, to=REMOTE, text=text)
    send_message(user=number.user, number=number, to="+17036089796", text="in flight")
    Attempt.objects.filter(message__text="in flight").update(status="sending", sending_at=timezone.now())
    call_command("afterrestore")
    assert set(Attempt.objects.values_list("status", "message__status")) == {("unknown", "unknown")}
    assert not Conversation.objects.exclude(outbox_at=None).exists()
    assert claim_texts(10, new_id()) == []


def test_r32_a_look_up_settles_one_text_and_never_two_by_the_same_record() -> None:
    number = CpaasNumberFactory()
    send_message(user=number.user, number=number, to=REMOTE, text="alone")
    for text in ("one of two", "two of two"):
        send_message(user=number.user, number=number, to="+17036089796", text=text)
    call_command("afterrestore")
    Attempt.objects.update(next_check_at=timezone.now() - timedelta(seconds=1))
    for due in claim_look_ups():
        store_look_up(due.attempt_id, [LookUpMatch(due.query.sent_at, REMOTE, "delivered", "DELIVERED", "sid-1")])
    assert dict(Attempt.objects.values_list("message__text", "status")) == {
        "alone": "delivered",
        "one of two": "unknown",
        "two of two": "unknown",
    }


def test_every_cursor_of_before_is_told_to_start_over() -> None:
    """Also one of a user whose first event came after the backup, and one that new events have passed meanwhile."""
    number, quiet = CpaasNumberFactory(), EndUserFactory()
    send_message(user=number.user, number=number, to=REMOTE, text="text")
    newest = EventStream.objects.get(user=number.user).last_id
    call_command("afterrestore")
    send_message(user=number.user, number=number, to=REMOTE, text="after the restore")
    assert reset_of(number.user, newest) is not None
    assert reset_of(number.user, newest + 50) is not None
    assert reset_of(quiet, 7) is not None


def reset_of(user: EndUser, cursor: int) -> str | None:
    device = device_of_token(device_token(user))
    return read([Wanted(device.pk, user.pk, cursor)])[0].reset


def test_it_refuses_to_run_beside_a_worker() -> None:
    Lease.objects.create(name="scheduler", holder="somebody", deadline=timezone.now() + timedelta(minutes=1))
    with pytest.raises(CommandError, match="Stop all workers"):
        call_command("afterrestore")
