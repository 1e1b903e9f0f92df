"""The bridge at servers that can less than others, or do something wrong (XEP-0198, XEP-0199, RFC 6120)."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from portal.models import Event
from portal.tests.factories import EndUserFactory
from portal.tests.residents import eventually
from tests.faults.tcp_gate import Gate
from tests.ports import free_port
from tests.prosody import Prosody
from tests.xmpp_peer import UcOne
from xmpp import bridge, reconnecting
from xmpp.client import Client
from xmpp.models import BroadworksConnection, ImMessage, ImpAccount, XmppDelivery
from xmpp.services.routing import Route
from xmpp.services.sending import send_to
from xmpp.states import AccountStatus
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory
from xmpp.tests.running import bridging, status_of, wait_online, wait_status

pytestmark = pytest.mark.django_db(transaction=True)
Connect = Callable[..., UcOne]


def send(account: ImpAccount, jid: str, text: str) -> ImMessage:
    return send_to(user=account.user, route=Route(jid, own=False, jid=jid), text=text)


def state_of(message: ImMessage) -> str:
    return XmppDelivery.objects.get(pk=message.pk).state


def reason_of(account: ImpAccount) -> str:
    account.refresh_from_db()
    return account.status_reason


@contextmanager
def account_at(server: Prosody, port: int | None = None) -> Iterator[ImpAccount]:
    account = ImpAccountFactory.at_server(server)
    BroadworksConnectionFactory.of_server(server, system_provider=account.system_provider)
    if port is not None:
        BroadworksConnection.objects.update(xmpp_port=port)
    yield account


def test_without_stream_management(settings: Any) -> None:
    """S0.13: a server without XEP-0198 is asked by a ping; its idle sessions stay."""
    settings.XMPP_SILENCE_S = 4
    with Prosody(without="smacks ping", log_level="debug") as server, account_at(server) as account, bridging(account):
        # The first asks for the roster. The server does not even know pings: an error is an answer too.
        eventually(lambda: len(re.findall(r"Received\[c2s\]: <iq [^>]*type='get'", server.log)) >= 4)
        assert len(server.mechanisms(account.imp_id)) == 1
        assert status_of(account) == AccountStatus.ONLINE


def test_messages_are_confirmed_without_stream_management() -> None:
    """XEP-0199: what such a server has answered for is not sent again by the next session."""
    with Prosody(without="smacks mam") as server, account_at(server) as account:
        peer = UcOne(server, *server.new_account("peer"), receipts=False).connect()
        for text in ("one", "two"):
            with bridging(account):
                message = send(account, peer.jid, text)
                eventually(lambda message=message: state_of(message) == "acked")
        peer.sync()
        assert [each.body for each in peer.messages] == ["one", "two"]
        peer.disconnect()


def test_session_that_cannot_be_resumed_is_not_gone_on_with() -> None:
    """XEP-0198: a server may count stanzas without keeping sessions. Those of the next session are counted anew."""
    with (
        Prosody(modules="no_resumption") as server,
        Gate((server.host, server.port)) as gate,
        account_at(server, gate.port) as account,
    ):
        peer = UcOne(server, *server.new_account("peer"), receipts=False).connect()
        with bridging(account):
            first = send(account, peer.jid, "one")
            eventually(lambda: state_of(first) == "acked")
            gate.cut()
            wait_status(account, AccountStatus.RECONNECTING)
            gate.open()
            wait_online(account)
            second = send(account, peer.jid, "two")
            eventually(lambda: state_of(second) == "acked")
        assert peer.texts_from(account.imp_id) == ["one", "two"]
        peer.disconnect()


def test_server_confirms_more_than_it_was_sent() -> None:
    """XEP-0198 §4: such a server cannot be believed, nor the session gone on with; nothing counts as delivered."""
    with Prosody(modules="false_count") as server, account_at(server) as account:
        peer = UcOne(server, *server.new_account("peer"), receipts=False).connect()
        with bridging(account):
            message = send(account, peer.jid, "one")
            eventually(lambda: len(server.mechanisms(account.imp_id)) == 2)
            eventually(lambda: state_of(message) == "acked")
            wait_online(account)
        peer.disconnect()


def test_all_addresses_of_a_server_are_tried(
    prosody: Prosody, account: ImpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6120 §3.2.1: when the first SRV record leads nowhere the next one is tried."""
    where = [("xmpp-client", prosody.host, prosody.host, port) for port in (free_port(), prosody.port)]

    async def records(*_: object) -> list[tuple[str, str, str, int]]:
        return where

    monkeypatch.setattr(Client, "get_dns_records", records)
    BroadworksConnection.objects.update(xmpp_host="")
    with bridging(account):
        pass
    where.pop()
    with bridging():
        wait_status(account, AccountStatus.RECONNECTING)
        assert "refused" in reason_of(account).lower()


class _Closing(socketserver.BaseRequestHandler):
    """Ends each connection at once."""

    def handle(self) -> None:
        self.server.tries.append(self.client_address)


def test_what_fails_again_and_again_is_told_once(account: ImpAccount) -> None:
    """S0.16: the user hears that the connection is being made, and that it fails, and not of each attempt."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Closing) as server:
        server.tries = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        BroadworksConnection.objects.update(xmpp_port=server.server_address[1])
        with bridging():
            eventually(lambda: len(server.tries) >= 3)
            wait_status(account, AccountStatus.RECONNECTING)
        server.shutdown()
    told = Event.objects.filter(user=account.user, type="xmpp.updated").count()
    assert told <= 3  # connecting, reconnecting, and offline with the bridge


def test_imp_id_that_is_no_jid(prosody: Prosody, account: ImpAccount) -> None:
    """S0.16: what no server can have is not tried, and the status says why."""
    ImpAccount.objects.filter(pk=account.pk).update(imp_id="no\u0001body@im.example")
    with bridging():
        wait_status(account, AccountStatus.AUTHENTICATION_FAILED)
    assert "not a valid JID" in account.status_reason


def test_another_client_takes_our_resource(
    prosody: Prosody, account: ImpAccount, colleague: ImpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts 2d "same resource twice": whoever was thrown out by another session does not throw that out at once."""
    monkeypatch.setattr(reconnecting, "CONFLICT_PAUSE_S", 3600)
    with bridging(account, colleague):
        resource = f"portal-{account.pk.hex[-8:]}"
        usurper = UcOne(prosody, account.imp_id, account.password, resource=resource).connect()
        eventually(lambda: reason_of(account) == "conflict")
        prosody.drop(colleague.imp_id)
        eventually(lambda: len(prosody.mechanisms(colleague.imp_id)) == 2)
        wait_online(colleague)
        assert usurper.online
        assert status_of(account) == AccountStatus.RECONNECTING
        usurper.disconnect()


def test_few_log_in_at_the_same_time(prosody: Prosody, account: ImpAccount) -> None:
    """Facts 3 "bound concurrent logins": each costs a key derivation and a TLS handshake."""
    accounts = [account]
    while len(accounts) < bridge.LOGINS + 5:
        accounts.append(ImpAccountFactory.at_server(prosody, user=EndUserFactory(group=account.user.group)))
    with Gate((prosody.host, prosody.port)) as gate:
        BroadworksConnection.objects.update(xmpp_port=gate.port)
        gate.hold()
        with bridging():
            for each in accounts:
                wait_status(each, AccountStatus.CONNECTING)
            eventually(lambda: len(gate._pairs) >= bridge.LOGINS)
            assert len(gate._pairs) == bridge.LOGINS
            gate.release()
            for each in accounts:
                wait_online(each)
