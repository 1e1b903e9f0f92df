"""Group chats: on our own platform, among users who are online in it (S0.3, S0.4, R30)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from portal.models import EndUser, UserSettings
from portal.tests.factories import EndUserFactory, device_token
from presence.services.online import note_online
from xmpp.models import ImConversation, ImMessage, XmppDelivery
from xmpp.services.sending import send_message
from xmpp.tests.factories import ImpAccountFactory
from xmpp.tests.messaging import BASE, get, go_offline, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]
Client = Callable[[EndUser], APIClient]


@pytest.fixture
def others(mary: EndUser) -> list[EndUser]:
    """Three colleagues who are online."""
    found: list[EndUser] = EndUserFactory.create_batch(3, group=mary.group)
    for user in found:
        ImpAccountFactory(user=user)
    note_online([user.pk for user in found])
    return found


@pytest.fixture
def client(api: Any) -> Client:
    return lambda user: api(device_token(user))


def ids(*users: EndUser) -> list[str]:
    return [str(user.pk) for user in users]


def texts(client: APIClient, conversation_id: str) -> list[str]:
    return [row["text"] for row in get(client, f"im/conversations/{conversation_id}/messages/")["results"]]


def test_s0_3_all_members_get_what_one_writes(client: Client, mary: EndUser, others: list[EndUser]) -> None:
    """Carried by our own platform whatever the sender's priority and whatever XMPP the members have."""
    UserSettings.objects.filter(pk=mary.pk).update(im_priority="xmpp")
    message = send(client(mary), ids(*others), "Hello all").json()
    assert message["platforms"] == ["own"]
    assert not XmppDelivery.objects.exists()
    for user in others:
        [row] = get(client(user), "im/conversations/")["results"]
        assert (row["group"], row["new_count"], row["last_message"]["text"]) == (True, 1, "Hello all")
        assert {other["user"] for other in row["participants"]} == {*ids(mary, *others)} - {str(user.pk)}
        assert all(other["platforms"] == ["own"] for other in row["participants"])


def test_the_same_people_are_the_same_group_whoever_writes(
    client: Client, mary: EndUser, others: list[EndUser]
) -> None:
    note_online([mary.pk])
    first = send(client(mary), ids(*others), "One").json()
    again = send(client(others[0]), ids(others[2], mary, others[1], others[0]), "Two").json()
    fewer = send(client(mary), ids(*others[:2]), "Three").json()
    assert again["conversation"] == first["conversation"]
    assert fewer["conversation"] != first["conversation"]
    assert ImConversation.objects.count() == 2


def test_s0_3_who_is_not_online_cannot_be_asked_into_a_group(
    client: Client, mary: EndUser, others: list[EndUser]
) -> None:
    """Contracts section 6: 409 names them, and there is no such group then."""
    go_offline(others[1])
    answer = send(client(mary), ids(*others), "Hello")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_online")
    assert answer.json()["users"] == ids(others[1])
    assert others[1].name in answer.json()["detail"]
    assert not ImConversation.objects.exists()


def test_s0_3_a_member_who_goes_offline_stays_listed_and_gets_nothing_until_back(
    client: Client, mary: EndUser, others: list[EndUser]
) -> None:
    """What was written meanwhile is not shown to them, not even later."""
    gone = others[0]
    conversation = send(client(mary), ids(*others), "One").json()["conversation"]
    go_offline(gone)
    hidden = send(client(mary), ids(*others), "Two").json()
    note_online([gone.pk])
    assert texts(client(gone), conversation) == ["One"]
    row = get(client(gone), f"im/conversations/{conversation}/")
    assert (row["new_count"], row["last_message"]["text"]) == (1, "One")
    read = client(gone).post(f"{BASE}im/conversations/{conversation}/read/", {"up_to": hidden["id"]}, format="json")
    assert read.status_code == 404
    send(client(mary), ids(*others), "Three")
    assert texts(client(gone), conversation) == ["Three", "One"]
    assert texts(client(others[1]), conversation) == ["Three", "Two", "One"]
    listed = get(client(mary), f"im/conversations/{conversation}/")["participants"]
    assert {other["user"] for other in listed} == {*ids(*others)}


def test_a_group_with_nobody_else_online_takes_nothing(client: Client, mary: EndUser, others: list[EndUser]) -> None:
    send(client(mary), ids(*others), "One")
    for user in others:
        go_offline(user)
    answer = send(client(mary), ids(*others), "Two")
    assert (answer.status_code, sorted(answer.json()["users"])) == (409, sorted(ids(*others)))
    assert ImMessage.objects.count() == 1


def test_r30_group_chat_is_not_supported_with_xmpp(client: Client, mary: EndUser, others: list[EndUser]) -> None:
    """S0.4: whoever has only XMPP is refused, before anything else is looked at."""
    for to in (["zoe@im.example", "kim@im.example"], [*ids(others[0]), "zoe@im.example"], ["x@other.example", "y@z"]):
        answer = send(client(mary), to, "Hello")
        assert (answer.status_code, answer.json()["code"]) == (409, "group_not_on_xmpp")
        assert answer.json()["detail"] == "Group chat is not supported with XMPP."
    assert not ImConversation.objects.exists()


def test_a_large_group_costs_as_few_queries_as_a_small_one(mary: EndUser, others: list[EndUser]) -> None:
    def queries_to(users: list[EndUser]) -> int:
        with CaptureQueriesContext(connection) as captured:
            send_message(user=mary, to=ids(*users), text="Hello")
        return len(captured)

    assert queries_to(others) == queries_to(others[:2])


def test_a_list_with_the_same_user_twice_is_no_group(client: Client, mary: EndUser, others: list[EndUser]) -> None:
    key = str(others[0].pk)
    send(client(mary), [key, key.upper(), str(mary.pk)], "Hello")
    assert not ImConversation.objects.get().is_group


def test_a_group_has_an_end(client: Client, mary: EndUser) -> None:
    answer = send(client(mary), [f"peer{n}@im.example" for n in range(101)], "Hello")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
