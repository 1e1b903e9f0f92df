"""What a new session reads of the archive, when that goes wrong too (facts/xmpp.md 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from portal import clock
from portal.tests.residents import eventually
from tests.ejabberd import Ejabberd
from tests.prosody import Prosody
from tests.xmpp_peer import UcOne
from xmpp.archive import FROM_THE_START, PAGE
from xmpp.models import ArchivedStanza, ImMessage, ImpAccount, XmppDelivery
from xmpp.services import sessions
from xmpp.services.retention import purge
from xmpp.services.routing import Route
from xmpp.services.sending import send_to
from xmpp.states import AccountStatus
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory
from xmpp.tests.running import bridging, status_of, wait_online

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


def test_the_first_session_begins_with_what_comes_then(account: ImpAccount, uc_one: Connect) -> None:
    """What was said before the portal had the account stays where it is; all that comes later is taken in."""
    peer, desk = uc_one(), uc_one(account)
    write(peer, account, ["long before", "before"])
    desk.wait_text("before")
    desk.disconnect()
    with bridging(account):
        account.refresh_from_db()
        assert account.archive_cursor not in ("", FROM_THE_START)
    write(peer, account, ["later"])
    with bridging(account):
        write(peer, account, ["live"])
        eventually(lambda: "live" in stored())
    assert stored() == ["later", "live"]


def test_what_is_said_before_the_first_session_to_an_account_that_is_on(account: ImpAccount, uc_one: Connect) -> None:
    """With no bridge there for a while after the account was switched on, nothing of that while is missing."""
    peer, desk = uc_one(), uc_one(account)
    write(peer, account, ["before"])
    desk.wait_text("before")
    desk.disconnect()
    # The archive knows whole seconds.
    begins = clock.now() + timedelta(seconds=3)
    ImpAccount.objects.filter(pk=account.pk).update(password_set_at=begins)
    eventually(lambda: clock.now() > begins)
    write(peer, account, ["meanwhile"])
    with bridging(account):
        write(peer, account, ["live"])
        eventually(lambda: "live" in stored())
    assert stored() == ["meanwhile", "live"]


def lose_cursor(account: ImpAccount) -> None:
    """As when the archive no longer has the message at which we stopped."""
    ImpAccount.objects.filter(pk=account.pk).update(archive_cursor="long-gone")


def test_archive_that_no_longer_knows_where_we_stopped(account: ImpAccount, uc_one: Connect) -> None:
    """Facts 2d "unknown after": what came since is taken in, and what is stored already is not taken in twice."""
    peer = uc_one()
    with bridging(account):
        write(peer, account, ["known"])
        eventually(lambda: "known" in stored())
    write(peer, account, ["missed"])
    lose_cursor(account)
    with bridging(account):
        pass
    with bridging(account):
        pass
    assert stored() == ["known", "missed"]


def known_since(account: ImpAccount) -> datetime:
    (found,) = sessions.accounts([account.pk])
    return found.since


def test_how_far_is_looked_back() -> None:
    """As far as the message at which we stopped; when that is gone, as far as the account is known."""
    account = ImpAccountFactory(archive_cursor="cursor", created_at=clock.now() - timedelta(days=70))
    BroadworksConnectionFactory(system_provider=account.system_provider)
    assert known_since(account) == account.created_at - sessions.CLOCKS_DIFFER
    message = send_to(user=account.user, route=Route("peer@im.example", own=False, jid="peer@im.example"), text="x")
    at = clock.now() - timedelta(days=40)
    ImMessage.objects.filter(pk=message.pk).update(at=at)
    ArchivedStanza.objects.create(account=account, stanza_id="another", message=message)
    assert known_since(account) == account.created_at - sessions.CLOCKS_DIFFER
    ArchivedStanza.objects.create(account=account, stanza_id="cursor", message=message)
    assert known_since(account) == at - sessions.CLOCKS_DIFFER


@pytest.mark.parametrize("kind", [Prosody, Ejabberd])
def test_r18_purged_messages_do_not_come_back(kind: type[Prosody | Ejabberd], settings: Any) -> None:
    """R18: of an archive that no longer knows the cursor nothing is taken in that is older than what we keep. Prosody
    is asked for what came since; ejabberd answers an unknown cursor with all it has."""
    with kind() as server:
        account = ImpAccountFactory.at_server(server)
        BroadworksConnectionFactory.of_server(server, system_provider=account.system_provider)
        peer = UcOne(server, *server.new_account("peer")).connect()
        with bridging(account):
            write(peer, account, ["purged"])
            eventually(lambda: "purged" in stored())
        peer.disconnect()
        settings.RETENTION_DAYS = 0
        purge()
        assert stored() == []
        lose_cursor(account)
        with bridging(account):
            pass
        assert stored() == []


def receipt(peer: UcOne, account: ImpAccount, message: ImMessage) -> None:
    """The peer says that it has this message, and the server has heard it."""
    said = f"<received xmlns='urn:xmpp:receipts' id='{message.pk}'/>"
    peer.send_raw(f"<message type='chat' to='{account.imp_id}'>{said}<store xmlns='urn:xmpp:hints'/></message>")
    peer.sync()


def test_receipt_of_the_gap(account: ImpAccount, uc_one: Connect) -> None:
    """XEP-0184: a receipt that came while nobody was there to hear it stands in the archive."""
    peer = uc_one(receipts=False)
    with bridging(account):
        message = send_to(user=account.user, route=Route(peer.jid, own=False, jid=peer.jid), text="Got it?")
        peer.wait_text("Got it?")
        eventually(lambda: XmppDelivery.objects.get(pk=message.pk).state == "acked")
    receipt(peer, account, message)
    with bridging(account):
        assert ImMessage.objects.get(pk=message.pk).status == "delivered"


def test_receipt_of_somebody_else(account: ImpAccount, uc_one: Connect) -> None:
    """XEP-0184 §6: only the recipient can say that a message arrived."""
    peer, stranger = uc_one(receipts=False), uc_one()
    with bridging(account):
        message = send_to(user=account.user, route=Route(peer.jid, own=False, jid=peer.jid), text="Got it?")
        eventually(lambda: XmppDelivery.objects.get(pk=message.pk).state == "acked")
        receipt(stranger, account, message)
        write(stranger, account, ["after the receipt"])
        eventually(lambda: "after the receipt" in stored())
        assert ImMessage.objects.get(pk=message.pk).status == "sent"
        receipt(peer, account, message)
        eventually(lambda: ImMessage.objects.get(pk=message.pk).status == "delivered")


def test_largest_stanza_of_the_server(account: ImpAccount, uc_one: Connect) -> None:
    """Facts 2d "300 kB body": what the server takes is taken in, and the session lives on."""
    peer = uc_one()
    with bridging(account):
        peer.send(account.imp_id, "x" * 250_000)
        write(peer, account, ["and on"])
        eventually(lambda: "and on" in stored())
        assert len(stored()[0]) == 250_000
        assert status_of(account) == AccountStatus.ONLINE
