"""The outbox of the bridge: what is claimed, released, confirmed, and stored twice (rules 3 and 4)."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection

from portal import clock
from portal.models import EndUser, Lease
from portal.tests.factories import EndUserFactory
from xmpp.models import ImMessage, ImpAccount, XmppDelivery
from xmpp.services import outbox
from xmpp.services.ownership import shard_lease
from xmpp.services.receiving import Heard, store_heard
from xmpp.services.routing import Route
from xmpp.services.sending import send_to
from xmpp.shards import shard_of
from xmpp.stanzas import Said
from xmpp.states import DeliveryState
from xmpp.tests.factories import ImpAccountFactory

HOLDER = "a-worker"


@pytest.fixture
def account() -> ImpAccount:
    """One that `HOLDER` acts for."""
    account: ImpAccount = ImpAccountFactory(user=EndUserFactory())
    lease = shard_lease(shard_of(account.slot))
    Lease.objects.create(name=lease, holder=HOLDER, deadline=clock.now() + timedelta(minutes=5))
    return account


def send(account: ImpAccount, text: str) -> ImMessage:
    jid = "peer@im.example"
    return send_to(user=EndUser(pk=account.pk), route=Route(jid, own=False, jid=jid), text=text)


def states() -> dict[uuid.UUID, str]:
    return dict(XmppDelivery.objects.values_list("pk", "state"))


@pytest.mark.django_db
def test_a_claim_nobody_heard_of_waits_as_before(account: ImpAccount) -> None:
    """Rule 3: the database went away between the claim and its answer. What was written stays claimed."""
    written, lost = send(account, "written"), send(account, "lost")
    assert len(outbox.claim_queued([account.pk], holder=HOLDER, limit=10)) == 2
    outbox.release_unwritten([account.pk], written={written.pk}, holder=HOLDER)
    assert states() == {written.pk: "sending", lost.pk: "queued"}


@pytest.mark.django_db
def test_another_worker_releases_nothing(account: ImpAccount) -> None:
    """Architecture 6: who has not the lease changes nothing."""
    message = send(account, "ours")
    outbox.claim_queued([account.pk], holder=HOLDER, limit=10)
    outbox.release_unwritten([account.pk], written=set(), holder="another")
    assert states() == {message.pk: "sending"}


@pytest.mark.django_db
def test_what_was_claimed_meanwhile_does_not_expire(account: ImpAccount) -> None:
    """R34: the four hours end while it is being sent; it is not failed and then delivered."""
    message = send(account, "at the last moment")
    ImMessage.objects.update(created_at=clock.now() - timedelta(hours=5))
    outbox.claim_queued([account.pk], holder=HOLDER, limit=10)
    outbox.expire()
    assert states() == {message.pk: "sending"}


@pytest.mark.django_db
def test_what_was_claimed_and_released_does_not_wait_anew(account: ImpAccount) -> None:
    """R34: four hours from when it was written, however often a session came and went."""
    message = send(account, "for hours")
    ImMessage.objects.update(created_at=clock.now() - timedelta(hours=5))
    outbox.claim_queued([account.pk], holder=HOLDER, limit=10)
    outbox.release([message.pk])
    outbox.expire()
    assert states() == {message.pk: "failed"}


@pytest.mark.django_db
def test_receipts_of_the_recipients_only(account: ImpAccount) -> None:
    """XEP-0184: many at once, each from whom it was sent to; of anybody else it says nothing."""
    ours, other = send(account, "one"), send(account, "two")
    outbox.note_states([(ours.pk, DeliveryState.ACKED), (other.pk, DeliveryState.ACKED)])
    outbox.note_received([(ours.pk, "peer@im.example"), (other.pk, "mallory@im.example"), (uuid.uuid4(), "peer@x")])
    assert states() == {ours.pk: "delivered", other.pk: "acked"}
    assert ImMessage.objects.get(pk=ours.pk).status == "delivered"
    assert ImMessage.objects.get(pk=other.pk).status == "sent"


@pytest.mark.django_db(transaction=True)
def test_a_text_without_an_id_told_live_and_from_the_archive_at_once(account: ImpAccount) -> None:
    """S0.38: both are stored at the same moment by two sessions' work; it is one message."""
    said = [Heard(account.pk, account.imp_id, Said("peer@im.example", False, f"text {n}", f"a-{n}")) for n in range(20)]

    def store() -> None:
        start.wait()
        for each in said:
            store_heard([each], cursors={}, holder=HOLDER)
        connection.close()

    start = threading.Barrier(2)
    threads = [threading.Thread(target=store) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ImMessage.objects.values_list("text", flat=True)) == sorted(each.said.text for each in said)
