"""What a new session reads of the archive, when that goes wrong too (facts/xmpp.md 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from portal.tests.residents import eventually
from tests.prosody import Prosody
from tests.xmpp_peer import UcOne
from xmpp.archive import PAGE
from xmpp.models import ImMessage, ImpAccount
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory
from xmpp.tests.running import bridging, wait_online

pytestmark = pytest.mark.django_db(transaction=True)
Connect = Callable[..., UcOne]


def write(peer: UcOne, account: ImpAccount, texts: list[str]) -> None:
    """The peer sends these, and the server has them."""
    stanzas = (
        f"<message type='chat' to='{account.imp_id}' id='{text}'><body>{text}</body></message>" for text in texts
    )
    peer.send_raw("".join(stanzas))
    peer.sync()


def stored() -> list[str]:
    return list(ImMessage.objects.order_by("pk").values_list("text", flat=True))


def more_than_two_pages() -> list[str]:
    return [f"gap {n}" for n in range(2 * PAGE + 30)]


@pytest.fixture
def broken_off(request: pytest.FixtureRequest) -> Iterator[tuple[ImpAccount, UcOne]]:
    """An account with an empty archive that we know, and a peer; reading the archive's second page fails once."""
    with Prosody(modules=request.param, without="offline") as server:
        account = ImpAccountFactory.at_server(server)
        BroadworksConnectionFactory.of_server(server, system_provider=account.system_provider)
        peer = UcOne(server, *server.new_account("peer")).connect()
        with bridging(account):
            pass
        yield account, peer
        peer.disconnect()


@pytest.mark.parametrize("broken_off", ["archive_cuts", "archive_fails"], indirect=True)
def test_archive_breaks_off(broken_off: tuple[ImpAccount, UcOne]) -> None:
    """When the connection breaks, or the server fails, between two pages of the archive, the account is not online
    before the rest was read too: else the next live text would move the cursor past it."""
    account, peer = broken_off
    write(peer, account, more_than_two_pages())
    with bridging(account):
        assert stored() == more_than_two_pages()
        write(peer, account, ["live"])
        eventually(lambda: "live" in stored())
    with bridging(account):
        assert stored() == [*more_than_two_pages(), "live"]


@contextmanager
def unstorable(text: str) -> Iterator[None]:
    """The database goes away whenever a message with that text is to be stored."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""CREATE FUNCTION go_away() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'gone' USING ERRCODE = '57P03'; END $$;
                CREATE TRIGGER go_away BEFORE INSERT ON xmpp_immessage FOR EACH ROW WHEN (NEW.text = '{text}')
                EXECUTE FUNCTION go_away()"""
        )
        try:
            yield
        finally:
            cursor.execute("DROP FUNCTION go_away CASCADE")


def test_database_away_while_the_archive_is_read(account: ImpAccount, uc_one: Connect) -> None:
    """A page of the archive that could not be stored is read again, and the account is not online before."""
    peer = uc_one()
    with bridging(account):
        pass
    write(peer, account, more_than_two_pages())
    with bridging():
        with unstorable(f"gap {PAGE + 10}"):
            eventually(lambda: "could not be stored" in _reason(account))
            assert stored() == more_than_two_pages()[:PAGE]
        wait_online(account)
        assert stored() == more_than_two_pages()


def _reason(account: ImpAccount) -> str:
    account.refresh_from_db()
    return account.status_reason
