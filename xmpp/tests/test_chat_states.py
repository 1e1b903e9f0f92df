"""Who is writing (XEP-0085): what is noted of it, to whom it is told, and what a client may say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from portal.events import live
from portal.models import EndUser, UserSettings
from portal.scoping import parse_id
from portal.tests.factories import EndUserFactory, device_token
from presence.services.online import note_online
from xmpp.models import ImChatState, ImConversation, ImpAccount
from xmpp.services.chat_states import COMPOSING_FOR, DUE_FOR, REPEATED_AFTER, claim_due, note_heard
from xmpp.services.receiving import Heard, store_heard
from xmpp.services.sending import send_message
from xmpp.stanzas import ChatState, Said
from xmpp.tests.factories import lease_shards

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]
Say = Callable[..., None]
TOM, ZOE = "tom@im.example", "zoe@im.example"
# Who has all accounts of these tests (lease_shards).
HOLDER = "bridge"


class Stream:
    """What an event stream of a user is told."""

    def __init__(self, user: EndUser) -> None:
        self._user = user
        self._told: live.LiveState = {}

    def news(self) -> list[tuple[Any, ...]]:
        """Who is in which state by now that was not before: user or JID, and state."""
        [found] = live.news([(self._user, self._told)])
        self._told = found.told
        said = [data for kind, data in found.events if kind == "im.chat_state"]
        return [(data["user"] or data["jid"], data["state"]) for data in said]


def hear(user: EndUser, jid: str, state: str, *, stanza_id: str = "", holder: str = HOLDER) -> None:
    note_heard([(user.pk, ChatState(jid, state == "composing", stanza_id))], holder=holder)


def conversation_of(one: EndUser, to: str) -> str:
    """The id of the conversation of these two; `to` is an id or a JID."""
    rows = ImConversation.objects.filter(is_group=False, participants__user=one)
    other = {"participants__jid": to} if "@" in to else {"participants__user": to}
    return str(rows.filter(**other).get().pk)


def move_back(by: timedelta) -> None:
    """All that was noted was so much earlier."""
    for row in ImChatState.objects.all():
        times = {name: getattr(row, name) - by for name in ("composing_at", "said_at") if getattr(row, name)}
        ImChatState.objects.filter(pk=row.pk).update(**times)


@pytest.fixture
def stream(mary: EndUser, tom: EndUser) -> Stream:
    """Of Mary, who wrote to Tom and to Zoe, who is no user; a bridge has their accounts."""
    lease_shards()
    for to in (str(tom.pk), ZOE):
        send_message(user=mary, to=to, text="Hello")
    return Stream(mary)


@pytest.fixture
def say(stream: Stream, api: Callable[[str], APIClient]) -> Say:
    """`say(user, to, state)`: what a client of the user says in the conversation with `to`."""

    def say(user: EndUser, to: EndUser | str, state: str, *, status: int = 204) -> None:
        key = conversation_of(user, to if isinstance(to, str) else str(to.pk))
        path = f"/api/v1/im/conversations/{key}/state/"
        answer = api(device_token(user)).post(path, {"state": state}, format="json")
        assert answer.status_code == status, answer.content

    return say


def due() -> list[tuple[str, str]]:
    return [(word.to_jid, word.state) for word in claim_due(holder=HOLDER)]


class TestHeard:
    @pytest.mark.parametrize("end", ["paused", "active", "inactive", "gone"])
    def test_who_writes_is_told_and_that_it_is_over(
        self, stream: Stream, mary: EndUser, tom: EndUser, end: str
    ) -> None:
        """Once each, colleague or not."""
        hear(mary, TOM, "composing")
        hear(mary, ZOE, "composing")
        assert set(stream.news()) == {(str(tom.pk), "composing"), (ZOE, "composing")}
        hear(mary, ZOE, "composing")
        assert stream.news() == []
        hear(mary, ZOE, end)
        assert stream.news() == [(ZOE, "active")]
        assert stream.news() == []

    def test_only_whom_it_is_meant_for_is_told(self, stream: Stream, mary: EndUser, tom: EndUser) -> None:
        """Not the writer's own clients, a colleague with conversations of their own, or another organisation (R42)."""
        ann, stranger = EndUserFactory(group=mary.group), EndUserFactory()
        send_message(user=mary, to=str(ann.pk), text="Hello")
        hear(mary, TOM, "composing")
        assert live.listening([mary.pk, tom.pk, ann.pk, stranger.pk]) == {mary.pk}
        assert [Stream(user).news() for user in (tom, ann, stranger)] == [[], [], []]
        [found] = live.news([(mary, {})])
        place = {"conversation": conversation_of(mary, str(tom.pk)), "user": str(tom.pk), "jid": None}
        assert ("im.chat_state", {**place, "state": "composing"}) in found.events

    def test_the_message_ends_it(self, stream: Stream, mary: EndUser, tom: EndUser) -> None:
        """XEP-0085 §5.3, whichever platform carries it; and a new word begins it again at once."""
        hear(mary, TOM, "composing")
        hear(mary, ZOE, "composing")
        stream.news()
        send_message(user=tom, to=str(mary.pk), text="Here you are")
        store_heard([Heard(mary.pk, "mary@im.example", Said(ZOE, False, "And me"))], cursors={}, holder=HOLDER)
        assert set(stream.news()) == {(str(tom.pk), "active"), (ZOE, "active")}
        hear(mary, ZOE, "composing")
        assert stream.news() == [(ZOE, "composing")]

    def test_what_the_viewer_writes_does_not_end_it(self, stream: Stream, mary: EndUser) -> None:
        """Clients say `composing` once; both may write at the same time."""
        hear(mary, ZOE, "composing")
        stream.news()
        send_message(user=mary, to=ZOE, text="Are you there?")
        assert stream.news() == []

    def test_who_says_nothing_more_is_not_writing_for_ever(self, stream: Stream, mary: EndUser, tom: EndUser) -> None:
        """Their client was killed, or ours."""
        hear(mary, TOM, "composing")
        stream.news()
        move_back(COMPOSING_FOR)
        assert stream.news() == [(str(tom.pk), "active")]
        assert live.listening([mary.pk]) == set()

    def test_writing_begins_no_conversation(self, mary: EndUser, tom: EndUser) -> None:
        """Nor does it show one that the user is not to see (S0.34)."""
        lease_shards()
        hear(mary, TOM, "composing")
        assert not ImConversation.objects.exists()
        UserSettings.objects.filter(pk=tom.pk).update(im_priority="xmpp")
        send_message(user=tom, to=str(mary.pk), text="In UC-One only")
        hear(mary, TOM, "composing")
        assert Stream(mary).news() == []

    @pytest.mark.parametrize("holder", ["another bridge", HOLDER])
    def test_only_who_has_the_lease_notes_anything(self, stream: Stream, mary: EndUser, holder: str) -> None:
        """Architecture section 6: a worker that slept, or another, writes nothing."""
        if holder == HOLDER:
            lease_shards(ended_s=1)
        hear(mary, ZOE, "composing", holder=holder)
        assert not ImChatState.objects.exists()

    @pytest.mark.parametrize("state", ["active", "paused"])
    def test_what_changes_nothing_writes_nothing(self, stream: Stream, mary: EndUser, state: str) -> None:
        """Who was not writing, and who still is."""
        hear(mary, ZOE, state)
        assert not ImChatState.objects.exists()
        hear(mary, ZOE, "composing")
        before = list(ImChatState.objects.values())
        hear(mary, ZOE, "composing")
        assert list(ImChatState.objects.values()) == before

    def test_many_are_noted_in_as_few_queries_as_one(
        self, stream: Stream, mary: EndUser, tom: EndUser, django_assert_max_num_queries: Any
    ) -> None:
        """Also when both of two colleagues write to each other."""
        heard = [(mary.pk, ChatState(jid, True)) for jid in (TOM, ZOE, "nobody@im.example")]
        heard.append((tom.pk, ChatState("mary@im.example", True)))
        with django_assert_max_num_queries(4):
            note_heard(heard, holder=HOLDER)
        assert ImChatState.objects.filter(composing_at__isnull=False).count() == 3


class TestSaid:
    def test_a_colleague_is_told(self, say: Say, mary: EndUser, tom: EndUser) -> None:
        """By our own platform, and by XMPP as a message would go by both (S0.32)."""
        of_tom = Stream(tom)
        say(mary, tom, "composing")
        assert of_tom.news() == [(str(mary.pk), "composing")]
        assert due() == [(TOM, "composing")]
        say(mary, tom, "paused")
        assert of_tom.news() == [(str(mary.pk), "active")]
        assert due() == [(TOM, "paused")]
        assert due() == []

    @pytest.mark.parametrize(
        ("priority", "told", "stanzas"), [("own", 1, 0), ("xmpp", 0, 1), ("both", 1, 1)], ids=["own", "xmpp", "both"]
    )
    def test_it_goes_as_a_message_would(
        self, say: Say, mary: EndUser, tom: EndUser, priority: str, told: int, stanzas: int
    ) -> None:
        """S0.32-S0.35. What our own session said for Mary, Tom's hears without telling him again, or at all."""
        UserSettings.objects.filter(pk=mary.pk).update(im_priority=priority)
        of_tom = Stream(tom)
        say(mary, tom, "composing")
        words = claim_due(holder=HOLDER)
        assert len(words) == stanzas
        for word in words:
            hear(tom, "mary@im.example", word.state, stanza_id=str(word.conversation_id))
        assert len(of_tom.news()) == told
        hear(tom, "mary@im.example", "composing", stanza_id="of UC-One")
        assert len(of_tom.news()) == 1 - told

    def test_who_is_no_user_is_told_by_xmpp(self, say: Say, mary: EndUser) -> None:
        say(mary, ZOE, "composing")
        [word] = claim_due(holder=HOLDER)
        assert (word.account_id, word.to_jid, word.state) == (mary.pk, ZOE, "composing")
        assert word.conversation_id == parse_id(conversation_of(mary, ZOE))

    def test_the_same_again_writes_nothing(self, say: Say, mary: EndUser) -> None:
        """Until it is worth saying again: after a while, or after a message; what was not begun does not end."""
        say(mary, ZOE, "paused")
        assert not ImChatState.objects.exists()
        say(mary, ZOE, "composing")
        assert due() == [(ZOE, "composing")]
        before = list(ImChatState.objects.values())
        say(mary, ZOE, "composing")
        assert list(ImChatState.objects.values()) == before
        move_back(REPEATED_AFTER)
        say(mary, ZOE, "composing")
        assert due() == [(ZOE, "composing")]
        send_message(user=mary, to=ZOE, text="Hello")
        say(mary, ZOE, "composing")
        assert due() == [(ZOE, "composing")]

    def test_what_waited_is_not_said(self, say: Say, mary: EndUser) -> None:
        """Nothing is queued: after a while, or after the message itself, it would mislead."""
        say(mary, ZOE, "composing")
        move_back(DUE_FOR)
        assert due() == []
        say(mary, ZOE, "composing")
        send_message(user=mary, to=ZOE, text="Hello")
        assert due() == []

    def test_only_who_has_the_lease_may_say_it(self, say: Say, mary: EndUser) -> None:
        say(mary, ZOE, "composing")
        assert claim_due(holder="another bridge") == []
        lease_shards(ended_s=1)
        assert due() == []

    def test_a_group_is_not_told(self, api: Any, mary: EndUser, tom: EndUser, ann: EndUser) -> None:
        note_online([tom.pk, ann.pk])
        message = send_message(user=mary, to=[str(tom.pk), str(ann.pk)], text="All")
        path = f"/api/v1/im/conversations/{message.conversation_id}/state/"
        assert api(device_token(mary)).post(path, {"state": "composing"}, format="json").status_code == 204
        assert not ImChatState.objects.exists()

    def test_what_cannot_be_said(self, say: Say, mary: EndUser, tom: EndUser, api: Any) -> None:
        """No such state; nobody to hear it (R42, S0.33); a conversation of others."""
        say(mary, tom, "gone", status=400)
        ann = EndUserFactory(group=mary.group)
        path = f"/api/v1/im/conversations/{conversation_of(mary, str(tom.pk))}/state/"
        assert api(device_token(ann)).post(path, {"state": "composing"}, format="json").status_code == 404
        ImpAccount.objects.filter(user=mary).update(enabled=False)
        say(mary, ZOE, "composing", status=409)
        EndUser.objects.filter(pk=tom.pk).update(group=EndUserFactory().group)
        say(mary, tom, "composing", status=404)
        assert not ImChatState.objects.exists()
