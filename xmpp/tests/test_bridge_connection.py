"""What the bridge does when servers are away, refuse, lie, or lose connections (facts/xmpp.md 2d, 5)."""

from __future__ import annotations

import gc
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from portal.models import EndUser
from portal.tests.residents import eventually
from tests.certificates import Authority
from tests.faults.tcp_gate import Gate
from tests.prosody import Prosody
from tests.xmpp_peer import UcOne
from xmpp.client import Client
from xmpp.models import BroadworksConnection, ImMessage, ImpAccount, XmppDelivery
from xmpp.states import AccountStatus
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory
from xmpp.tests.running import bridging, heard, send, status_of, wait_online, wait_status

pytestmark = pytest.mark.django_db(transaction=True)
Connect = Callable[..., UcOne]


def test_server_restarted(own_prosody: Prosody) -> None:
    """S0.13: while the server is away the status says so and why; when it is back so is the session."""
    account = ImpAccountFactory.at_server(own_prosody)
    BroadworksConnectionFactory.of_server(own_prosody, system_provider=account.system_provider)
    with bridging(account):
        own_prosody.stop()
        wait_status(account, AccountStatus.RECONNECTING)
        eventually(lambda: "refused" in _reason(account).lower())
        own_prosody.start()
        wait_online(account)


def _reason(account: ImpAccount) -> str:
    account.refresh_from_db()
    return account.status_reason


def test_broken_connection_is_resumed(user: EndUser, account: ImpAccount, gate: Gate, uc_one: Connect) -> None:
    """XEP-0198: texts of both sides during a broken connection arrive once, and nobody saw the user leave."""
    peer = uc_one()
    with bridging(account):
        send(user, peer.jid, "before")
        peer.wait_text("before")
        gate.cut()
        wait_status(account, AccountStatus.RECONNECTING)
        peer.send(account.imp_id, "to the user")
        message = send(user, peer.jid, "from the user")
        gate.open()
        heard("to the user")
        peer.wait_text("from the user")
        eventually(lambda: XmppDelivery.objects.get(pk=message.pk).state == "delivered")
        peer.sync()
    assert peer.texts_from(account.imp_id) == ["before", "from the user"]
    assert ImMessage.objects.filter(text="to the user").count() == 1


def test_written_into_a_dead_connection(
    user: EndUser, account: ImpAccount, gate: Gate, uc_one: Connect, settings: Any
) -> None:
    """Facts 5 #1: a connection that answers nothing is noticed, and what was written into it is not lost."""
    settings.XMPP_SILENCE_S = 2
    peer = uc_one()
    with bridging(account):
        gate.hold()
        message = send(user, peer.jid, "into the void")
        eventually(lambda: XmppDelivery.objects.get(pk=message.pk).state == "sent")
        eventually(lambda: status_of(account) != AccountStatus.ONLINE)
        gate.cut()
        gate.open()
        peer.wait_text("into the void")
        eventually(lambda: XmppDelivery.objects.get(pk=message.pk).state == "delivered")


def test_session_that_cannot_be_resumed(own_prosody: Prosody) -> None:
    """Facts 2d "failed resume": what the lost session had not acknowledged is sent by the next one; what the archive
    has is not sent again."""
    account = ImpAccountFactory.at_server(own_prosody)
    BroadworksConnectionFactory.of_server(own_prosody, system_provider=account.system_provider)
    peer = UcOne(own_prosody, *own_prosody.new_account("peer")).connect()
    with bridging(account):
        first = send(account.user, peer.jid, "acknowledged")
        peer.wait_text("acknowledged")
        own_prosody.kill()
        wait_status(account, AccountStatus.RECONNECTING)
        second = send(account.user, peer.jid, "written while away")
        own_prosody.start()
        peer = UcOne(own_prosody, peer.jid, peer._password).connect()
        peer.wait_text("written while away")
        eventually(lambda: XmppDelivery.objects.get(pk=second.pk).state == "delivered")
    texts = [each.body for each in peer.history() if each.body]
    assert texts == ["acknowledged", "written while away"]
    assert XmppDelivery.objects.get(pk=first.pk).state == "delivered"
    peer.disconnect()


def test_thrown_out_by_an_administrator(prosody: Prosody, account: ImpAccount) -> None:
    """Facts 2d "password change": a server may end sessions; with the password still right the user is back."""
    with bridging(account):
        prosody.drop(account.imp_id)
        eventually(lambda: len(prosody.mechanisms(account.imp_id)) == 2)
        wait_online(account)


@pytest.mark.parametrize("certificate", ["unknown", "expired", "other name"])
def test_wrong_certificate(own_prosody: Prosody, certificate: str) -> None:
    """S0.12: to a server that cannot prove who it is no password goes, in whatever form."""
    account = ImpAccountFactory.at_server(own_prosody)
    BroadworksConnectionFactory.of_server(own_prosody, system_provider=account.system_provider)
    issued = {
        "unknown": lambda: Authority().issue(own_prosody.domain),
        "expired": lambda: own_prosody.authority.issue(own_prosody.domain, expired=True),
        "other name": lambda: own_prosody.authority.issue("elsewhere.example"),
    }
    own_prosody.use_certificate(*issued[certificate]())
    own_prosody.restart()
    with bridging():
        wait_status(account, AccountStatus.TLS_FAILED)
        assert account.status_reason
    assert own_prosody.mechanisms() == []


def test_nothing_stays_of_ended_sessions(prosody: Prosody, account: ImpAccount, colleague: ImpAccount) -> None:
    """Facts 2d "leak": clients of sessions that ended are gone."""
    with bridging(account, colleague):
        for _ in range(3):
            prosody.drop(account.imp_id)
            eventually(lambda: status_of(account) != AccountStatus.ONLINE)
            wait_online(account)
    gc.collect()
    # Not `isinstance`, which would wake lazy objects that other tests left.
    assert [each for each in gc.get_objects() if issubclass(type(each), Client)] == []


class _Liar(socketserver.BaseRequestHandler):
    """Offers no TLS, or sends clients elsewhere."""

    says = ""

    def handle(self) -> None:
        self.server.heard.append(self.request.recv(65536))
        self.request.sendall(
            b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            b" id='1' from='im.example' version='1.0'>" + self.says.encode()
        )
        while data := self.request.recv(65536):
            self.server.heard.append(data)


@contextmanager
def lying(says: str) -> Iterator[Any]:
    handler = type("Liar", (_Liar,), {"says": says})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads, server.heard = True, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


PLAIN_ONLY = (
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
    "<mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms></stream:features>"
)


def test_no_login_without_tls(account: ImpAccount) -> None:
    """S0.12: a server (or somebody between) that offers no TLS gets no attempt to log in."""
    with lying(PLAIN_ONLY) as server:
        BroadworksConnection.objects.update(xmpp_port=server.server_address[1])
        with bridging():
            wait_status(account, AccountStatus.TLS_FAILED)
        assert b"<auth" not in b"".join(server.heard)


def test_redirection_is_not_followed(account: ImpAccount) -> None:
    """Facts 2d "see-other-host": credentials go to the preconfigured server only (S0.29)."""
    with lying("") as elsewhere:
        port = elsewhere.server_address[1]
        error = (
            "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>"
            f"127.0.0.1:{port}</see-other-host></stream:error></stream:stream>"
        )
        with lying(error) as server:
            BroadworksConnection.objects.update(xmpp_port=server.server_address[1])
            with bridging():
                wait_status(account, AccountStatus.RECONNECTING)
                eventually(lambda: len(server.heard) > 1)
        assert elsewhere.heard == []
