"""What a session asks of its own account, and whose answers it takes (RFC 6120 §8.1.2.1)."""

from __future__ import annotations

import asyncio
from xml.etree import ElementTree as ET

import pytest
from slixmpp.jid import JID

from xmpp.requests import RequestFailed, RequestRefused, Requests

OWN = JID("me@im.example/portal-1")
NOT_ALLOWED = "<error type='cancel'><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


async def ask(answer: str, sender: str = "") -> tuple[bool, ET.Element]:
    """Whether an answer like that is taken, and what was asked or, when it was not taken, what the right one brings."""
    said: list[str] = []
    requests = Requests(lambda stanza: not said.append(stanza))
    asking = asyncio.create_task(requests.ask("get", "<query xmlns='jabber:iq:roster'/>"))
    await asyncio.sleep(0)
    key = ET.fromstring(said[0]).get("id")
    one = f"<iq xmlns='jabber:client' id='{key}' from='{{}}'"
    taken = requests.take(ET.fromstring(one.format(sender) + answer), OWN)
    if not taken:
        assert requests.take(ET.fromstring(one.format("me@im.example") + " type='result'/>"), OWN)
    assert not requests.take(ET.fromstring(one.format("") + " type='result'/>"), OWN)  # it has one
    return taken, await asking


@pytest.mark.parametrize("sender", ["", "me@im.example", "Me@IM.example", "me@im.example/portal-1", "im.example"])
def test_answers(sender: str) -> None:
    taken, found = asyncio.run(ask(" type='result'><query/></iq>", sender))
    assert taken
    assert len(found) == 1


@pytest.mark.parametrize("sender", ["peer@im.example", "me@im.example.evil.example", "me@im.example/another"])
def test_forged_answers(sender: str) -> None:
    taken, found = asyncio.run(ask(" type='result'><query/></iq>", sender))
    assert not taken
    assert len(found) == 0


@pytest.mark.parametrize("kind", ["get", "set", "", "nonsense"])
def test_what_is_no_answer(kind: str) -> None:
    assert not asyncio.run(ask(f" type='{kind}'/>"))[0]


@pytest.mark.parametrize(
    ("error", "condition"),
    [(NOT_ALLOWED, "not-allowed"), ("", "undefined-condition"), ("<error/>", "undefined-condition")],
)
def test_refusals(error: str, condition: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        asyncio.run(ask(f" type='error'>{error}</iq>"))
    assert refused.value.condition == condition


def test_without_a_connection() -> None:
    """What cannot be asked is not waited for."""
    with pytest.raises(RequestFailed):
        asyncio.run(asyncio.wait_for(Requests(lambda _: False).ask("get", "<query/>"), 1))
