"""What a member wrote is not looked for among what is to be passed on; what they received before it is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from cpaas.carriers.base import InboundText
from cpaas.models import CpaasNumber, Message
from cpaas.services.inbound import receive_text
from cpaas.tests.factories import CpaasNumberFactory
from portal import clock
from portal.events import News
from portal.models import Lease
from portal.residents.resident import lease_name
from xmpp.gateway_stanzas import Written
from xmpp.models import GatewayMember, GatewayThread, TextToXmpp
from xmpp.services.gateway_collecting import collect
from xmpp.services.gateway_intake import take_texts
from xmpp.services.gateway_outbox import GATEWAY, Turn
from xmpp.tests.factories import ImpAccountFactory

pytestmark = [pytest.mark.django_db, pytest.mark.core]
REMOTE = "+17036089795"


@pytest.fixture
def number(db: Any) -> CpaasNumber:
    number = CpaasNumberFactory()
    account = ImpAccountFactory(user=number.user, imp_id="chris@im.example")
    GatewayMember.objects.create(account=account, since=timezone.now())
    return number


@pytest.fixture
def turn(number: CpaasNumber) -> Iterator[Turn]:
    turn = Turn(number.system_provider_id, 1)
    name = lease_name(GATEWAY, turn.system_provider_id)
    Lease.objects.create(name=name, holder="me", epoch=1, deadline=timezone.now() + timedelta(hours=1))
    return turn


def write(number: CpaasNumber, *texts: str) -> None:
    written = [
        Written(
            sender="chris@im.example/phone",
            to=f"{REMOTE}@sms.im.example",
            id=text,
            remote=REMOTE,
            body=text,
            wants_receipt=False,
        )
        for text in texts
    ]
    assert take_texts(system_provider_id=number.system_provider_id, texts=written) == [None] * len(texts)


def receive(number: CpaasNumber, text: str) -> None:
    news = News()
    inbound = InboundText(str(uuid.uuid4()), REMOTE, (number.number,), text, ())
    receive_text(platform_id=number.platform_id, text=inbound, news=news, at=clock.now())
    news.write()


def position() -> int:
    return GatewayThread.objects.get().position


def test_what_a_member_wrote_needs_no_look(number: CpaasNumber, turn: Turn) -> None:
    write(number, "one", "two")
    assert position() == 2
    write(number, "three")
    assert position() == 3
    assert collect(turn, [number.user_id]) is None


def test_what_was_received_before_is_looked_for_and_passed_on(number: CpaasNumber, turn: Turn) -> None:
    write(number, "one")
    receive(number, "answer")
    write(number, "two")
    assert position() == 1
    page = collect(turn, [number.user_id])
    assert page is not None
    assert page.made == 1
    assert Message.objects.get(pk=TextToXmpp.objects.get().message_id).text == "answer"
    assert position() == 3


def test_a_conversation_that_began_with_a_received_text_is_looked_through(number: CpaasNumber, turn: Turn) -> None:
    receive(number, "hello")
    write(number, "one")
    assert not GatewayThread.objects.exists()
    page = collect(turn, [number.user_id])
    assert page is not None
    assert page.made == 1


def test_who_is_no_member_yet_has_no_thread(number: CpaasNumber) -> None:
    GatewayMember.objects.all().delete()
    write(number, "one")
    assert not GatewayThread.objects.exists()
