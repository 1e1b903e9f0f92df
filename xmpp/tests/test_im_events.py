"""What event streams show of instant messages and subscriptions: to each user only what is theirs to see."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.events import render
from portal.models import EndUser, Event, UserSettings
from portal.tests.factories import EndUserFactory, device_token
from presence.services.online import note_online
from xmpp.models import ImMessage
from xmpp.services.conversations import mark_read, set_docked
from xmpp.services.outbox import note_received
from xmpp.services.sending import send_message
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory, SubscriptionFactory
from xmpp.tests.messaging import get, go_offline

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


@pytest.fixture
def people() -> list[EndUser]:
    """Four colleagues with XMPP, all online."""
    first = EndUserFactory()
    BroadworksConnectionFactory(system_provider=first.system_provider)
    found = [first, *EndUserFactory.create_batch(3, group=first.group)]
    for n, user in enumerate(found):
        ImpAccountFactory(user=user, imp_id=f"u{n}@im.example")
    note_online([user.pk for user in found])
    return found


def send(user: EndUser, to: Any, text: str = "Hello") -> ImMessage:
    return send_message(user=user, to=[str(u.pk) for u in to] if isinstance(to, list) else str(to.pk), text=text)


def told(user: EndUser) -> list[tuple[str, Any]]:
    """The events of the user as the stream renders them."""
    events = list(Event.objects.filter(user=user, type__startswith="im").order_by("number"))
    return [(line["type"], line["data"]) for line in render({user: events})[user.pk]]


def shown(viewers: list[EndUser], kind: str, keys: list[uuid.UUID]) -> dict[uuid.UUID, list[bool]]:
    """Whether each of these users is shown each of these objects, also when told by mistake."""
    events = [Event(number=n, type=kind, object_id=key, at=timezone.now()) for n, key in enumerate(keys)]
    lines = render(dict.fromkeys(viewers, events))
    return {viewer.pk: ["gone" not in line["data"] for line in lines[viewer.pk]] for viewer in viewers}


def queries_of(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


def test_a_message_is_told_to_both_as_the_list_shows_it(api: Any, people: list[EndUser]) -> None:
    """Contracts, Events: the whole object, as each of the two sees it."""
    mary, tom = people[:2]
    message = send(mary, tom)
    for user, direction in ((mary, "out"), (tom, "in")):
        [(kind, data)] = told(user)
        place = f"im/conversations/{message.conversation_id}/messages/"
        assert (kind, data["direction"]) == ("im.created", direction)
        assert [data] == get(api(device_token(user)), place)["results"]


def test_s0_34_the_peer_hears_nothing_of_what_goes_by_xmpp_only(people: list[EndUser]) -> None:
    mary, tom = people[:2]
    UserSettings.objects.filter(pk=mary.pk).update(im_priority="xmpp")
    message = send(mary, tom)
    assert [kind for kind, _ in told(mary)] == ["im.created"]
    assert told(tom) == []
    assert shown([mary, tom], "im.created", [message.pk]) == {mary.pk: [True], tom.pk: [False]}


def test_s0_3_who_was_not_there_is_not_shown_what_a_group_wrote(people: list[EndUser]) -> None:
    mary, tom, ann, other = people
    first = send(mary, [tom, ann], "One")
    go_offline(ann)
    second = send(mary, [tom, ann], "Two")
    seen = shown([mary, tom, ann, other], "im.created", [first.pk, second.pk])
    assert seen == {mary.pk: [True, True], tom.pk: [True, True], ann.pk: [True, False], other.pk: [False, False]}
    assert [data["text"] for _, data in told(ann)] == ["One"]


def test_a_receipt_is_told_to_the_sender(people: list[EndUser]) -> None:
    """XEP-0184."""
    mary, tom = people[:2]
    message = send(mary, tom)
    note_received([(message.pk, "u1@im.example")])
    kind, data = told(mary)[-1]
    assert (kind, data["status"]) == ("im.updated", "delivered")
    assert [kind for kind, _ in told(tom)] == ["im.created"]


def test_r41_other_devices_hear_that_a_conversation_was_read_or_undocked(people: list[EndUser]) -> None:
    mary, tom = people[:2]
    message = send(mary, tom)
    mark_read(user=tom, conversation_id=message.conversation_id, up_to=message)
    assert told(tom)[-1][0] == "im_conversation.updated"
    assert told(tom)[-1][1]["new_count"] == 0
    set_docked(user=tom, conversation_id=message.conversation_id, docked=False)
    set_docked(user=tom, conversation_id=message.conversation_id, docked=False)
    assert [data["docked"] for kind, data in told(tom) if kind == "im_conversation.updated"] == [False, False]
    assert [kind for kind, _ in told(mary)] == ["im.created", "im.updated"]


@pytest.mark.parametrize("kind", ["im.created", "im_conversation.updated", "subscription.updated"])
def test_many_users_are_read_at_once_and_each_is_shown_only_what_is_theirs(people: list[EndUser], kind: str) -> None:
    """Also when somebody is told, by whatever mistake, of what belongs to somebody else."""
    mary, tom, ann, other = people
    messages = [send(mary, tom), send(ann, other)]
    rows = [SubscriptionFactory(user=mary, peer=tom), SubscriptionFactory(user=ann, peer=other)]
    keys = {
        "im.created": [row.pk for row in messages],
        "im_conversation.updated": [row.conversation_id for row in messages],
        "subscription.updated": [row.pk for row in rows],
    }[kind]
    few = queries_of(lambda: shown([mary], kind, keys))
    assert queries_of(lambda: shown(people, kind, keys)) == few
    both = kind != "subscription.updated"
    assert shown(people, kind, keys) == {
        mary.pk: [True, False],
        tom.pk: [both, False],
        ann.pk: [False, True],
        other.pk: [False, both],
    }
