"""With the database slow or away, bridge and gateway keep no more in memory than a bound. Servers keep the rest."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4
from xml.etree.ElementTree import Element

import pytest
from django.db import connection as database

from portal.residents.database import close_database_threads
from portal.sql import execute
from portal.tests.residents import eventually
from tests.faults.tcp_gate import Gate
from tests.prosody import Prosody
from tests.xmpp_peer import UcOne
from xmpp import gateway_hearing, traffic
from xmpp.gateway_hearing import Hearing
from xmpp.models import BroadworksConnection, ImMessage, ImpAccount
from xmpp.tests.running import bridging, heard, wait_online
from xmpp.traffic import Traffic

pytestmark = pytest.mark.django_db(transaction=True)
Connect = Callable[..., UcOne]
# As large texts as clients send, so that few are read in one go.
TEXTS = [f"{n} {'x' * 20_000}" for n in range(150)]
BOUND = 10
DOMAIN = "sms.im.example"
MUCH_MORE = 60


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MOST_WAITING", BOUND)


@contextmanager
def nothing_stored() -> Iterator[Callable[[], int]]:
    """The database takes no message; the value says how often that was tried."""
    with database.cursor() as cursor:
        cursor.execute(
            """CREATE SEQUENCE tries;
               CREATE FUNCTION go_away() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM nextval('tries'); RAISE EXCEPTION 'gone' USING ERRCODE = '57P03'; END $$;
               CREATE TRIGGER go_away BEFORE INSERT ON xmpp_immessage FOR EACH ROW EXECUTE FUNCTION go_away()"""
        )
        try:
            yield lambda: execute("SELECT last_value FROM tries")[0][0]
        finally:
            cursor.execute("DROP FUNCTION go_away CASCADE; DROP SEQUENCE tries")


def waiting() -> int:
    """How many stanzas the bridge has in memory."""
    return sum(len(each._inbox) for each in gc.get_objects() if type(each) is Traffic)


def flood(peer: UcOne, account: ImpAccount) -> None:
    """The server has all of these for the account."""
    for text in TEXTS:
        peer.send(account.imp_id, text, receipt=False)
    peer.sync()


def require_all_once(*more: str) -> None:
    eventually(lambda: ImMessage.objects.count() >= len(TEXTS) + len(more), "all stored")
    assert sorted(ImMessage.objects.values_list("text", flat=True)) == sorted([*TEXTS, *more])


def test_with_nothing_stored_for_long_servers_keep_what_is_more(
    prosody: Prosody, account: ImpAccount, colleague: ImpAccount, uc_one: Connect, settings: Any
) -> None:
    """Then all is stored once. The sessions last, although nothing is heard on them meanwhile; one on which little
    comes is read on."""
    settings.XMPP_SILENCE_S = 1
    peer = uc_one()
    with bridging(account, colleague):
        with nothing_stored() as tries:
            flood(peer, account)
            eventually(lambda: waiting() >= BOUND)
            before = waiting()
            peer.send(colleague.imp_id, "to another", receipt=False)
            eventually(lambda: waiting() > before)
            done = tries()
            eventually(lambda: tries() > done + 5)
            assert waiting() < MUCH_MORE
        require_all_once("to another")
        peer.send(account.imp_id, "and on")
        heard("and on")
    assert [len(prosody.mechanisms(each.imp_id)) for each in (account, colleague)] == [1, 1]


def test_a_connection_that_breaks_while_it_is_not_read(prosody: Prosody, account: ImpAccount, uc_one: Connect) -> None:
    """What was never read comes with the next one."""
    peer = uc_one()
    with Gate((prosody.host, prosody.port)) as gate:
        BroadworksConnection.objects.update(xmpp_port=gate.port)
        with bridging(account):
            with nothing_stored():
                flood(peer, account)
                eventually(lambda: waiting() >= BOUND)
                gate.cut()
                gate.open()
            wait_online(account)
            require_all_once()
            peer.send(account.imp_id, "and on")
            heard("and on")


def test_the_gateway_drops_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presence and receipts, of which it has no room for any number while the database hangs."""
    monkeypatch.setattr(gateway_hearing, "MOST_WAITING", BOUND)
    counts: Counter[str] = Counter()
    number = f"+17036089795@{DOMAIN}"
    probe = Element("presence", {"from": "mary@im.example", "to": number, "type": "probe"})

    async def hear() -> None:
        hearing = Hearing(system_provider_id=uuid4(), domain=DOMAIN, count=lambda name: counts.update([name]))
        for _ in range(BOUND * 3):
            hearing.on_presence(probe)
        await hearing.finish()
        hearing.on_presence(probe)
        await hearing.finish()

    asyncio.run(hear())
    assert counts == {"dropped": BOUND * 2}
    close_database_threads()
