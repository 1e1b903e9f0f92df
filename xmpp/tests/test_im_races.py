"""Instant messages at the same moment. Only PostgreSQL lets them meet at all."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from cpaas.tests.interleaving import Beside, wait_for_waiters
from portal.models import EndUser, UserSettings
from portal.tests.factories import EndUserFactory
from presence.services.online import note_online
from xmpp.models import ImConversation, ImMessage, ImpAccount, ImParticipant, Subscription
from xmpp.services.auto_subscribing import subscribe_automatically
from xmpp.services.conversations import mark_read
from xmpp.services.retention import purge
from xmpp.services.rosters import note_subscription
from xmpp.services.sending import send_message
from xmpp.services.subscriptions import subscribe

pytestmark = pytest.mark.django_db(transaction=True)


def send(user: EndUser, to: object, text: str = "Hello", client_id: str = "") -> ImMessage:
    return send_message(user=user, to=to, text=text, client_id=client_id)


def test_a_client_id_sent_twice_at_once_is_one_message(mary: EndUser, tom: EndUser) -> None:
    """The second waits until the first is stored, and is given it."""
    send(mary, str(tom.pk))
    with transaction.atomic():
        ImConversation.objects.select_for_update().get()
        both = [Beside(lambda: send(mary, str(tom.pk), client_id="c-1")) for _ in range(2)]
        wait_for_waiters(2)
    assert len({call.result().pk for call in both}) == 1
    assert ImMessage.objects.count() == 2


def test_a_client_id_sent_to_two_at_once_is_one_message(mary: EndUser, tom: EndUser) -> None:
    """They meet only at the client's id, in different conversations."""
    ann = EndUserFactory(group=mary.group)
    with transaction.atomic():
        first = send(mary, str(tom.pk), client_id="c-1")
        second = Beside(lambda: send(mary, str(ann.pk), client_id="c-1"))
        wait_for_waiters(1)
    assert second.result().pk == first.pk
    assert ImMessage.objects.count() == 1
    assert not ImParticipant.objects.filter(user=ann).exists()


def test_many_client_ids_at_once_are_as_many_messages(mary: EndUser, tom: EndUser) -> None:
    """Both ways, without a deadlock, and all in one conversation."""
    start = threading.Barrier(8)

    def work(n: int) -> None:
        start.wait(30)
        for number in range(10):
            me, peer = (mary, tom) if n % 2 else (tom, mary)
            send(me, str(peer.pk), client_id=f"{n // 4}-{number}")

    calls = [Beside(lambda n=n: work(n)) for n in range(8)]  # type: ignore[misc]
    for call in calls:
        call.result()
    assert ImConversation.objects.count() == 1
    assert ImMessage.objects.count() == 40
    assert sorted(ImParticipant.objects.values_list("new_count", flat=True)) == [20, 20]


def test_two_begin_the_same_group_at_once(mary: EndUser, tom: EndUser) -> None:
    ann = EndUserFactory(group=mary.group)
    note_online([mary.pk, tom.pk, ann.pk])
    with transaction.atomic():
        first = send(mary, [str(tom.pk), str(ann.pk)])
        second = Beside(lambda: send(tom, [str(mary.pk), str(ann.pk)]))
        wait_for_waiters(1)
    assert second.result().conversation_id == first.conversation_id
    assert ImParticipant.objects.count() == 3


def test_a_group_is_written_to_while_the_purge_takes_it_away(mary: EndUser, tom: EndUser) -> None:
    """All that was in it was old: it begins anew."""
    ann = EndUserFactory(group=mary.group)
    note_online([tom.pk, ann.pk])
    send(mary, [str(tom.pk), str(ann.pk)])
    ImMessage.objects.update(created_at=timezone.now() - timedelta(days=91))
    with transaction.atomic():
        purge()
        second = Beside(lambda: send(mary, [str(tom.pk), str(ann.pk)]))
        wait_for_waiters(1)
    assert second.result() == ImMessage.objects.get()
    assert ImParticipant.objects.count() == 3


def test_a_message_comes_in_while_an_older_one_is_read(mary: EndUser, tom: EndUser) -> None:
    """It stays new."""
    first = send(mary, str(tom.pk))
    with transaction.atomic():
        send(mary, str(tom.pk))
        reading = Beside(lambda: mark_read(user=tom, conversation_id=first.conversation_id, up_to=first))
        wait_for_waiters(1)
    reading.result()
    assert ImParticipant.objects.get(user=tom).new_count == 1


def test_a_subscription_asked_for_by_all_at_once_is_one(mary: EndUser, tom: EndUser) -> None:
    """The user, auto-subscribe, and the peer who asks back: a row for each direction."""
    mary.monitored.set([tom])
    UserSettings.objects.filter(pk=mary.pk).update(auto_subscribe_xmpp=True)
    with transaction.atomic():
        ImpAccount.objects.select_for_update().get(pk=mary.pk)
        calls = [
            Beside(lambda: subscribe(user=mary, peer_id=str(tom.pk))),
            Beside(lambda: subscribe(user=mary, jid="tom@im.example")),
            Beside(lambda: subscribe_automatically(mary.pk)),
            Beside(lambda: note_subscription(mary.pk, "tom@im.example", "subscribe")),
            Beside(lambda: note_subscription(mary.pk, "tom@im.example", "subscribe")),
        ]
        wait_for_waiters(len(calls))
    for call in calls:
        call.result()
    rows = Subscription.objects.order_by("direction").values_list("direction", "state", "peer")
    assert list(rows) == [("in", "pending", tom.pk), ("out", "pending", tom.pk)]


def test_a_message_to_who_is_being_deleted(mary: EndUser, tom: EndUser) -> None:
    """Gone or not yet: nothing breaks."""
    key = str(uuid.UUID(str(tom.pk)))
    send(mary, key)
    tom.delete()
    assert ImParticipant.objects.get().user_id == mary.pk
