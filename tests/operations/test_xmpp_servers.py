"""The XMPP servers of deploy/ do what docs/xmpp.md says of them: real ones, started with those files."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from hashlib import sha1

import pytest

from tests.ejabberd import Ejabberd
from tests.prosody import DeployedProsody
from tests.xmpp_peer import Server, UcOne, send_with


@pytest.fixture(scope="module", params=[DeployedProsody, Ejabberd])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with request.param() as started:
        yield started


def test_clients_talk_and_nothing_is_lost_while_one_is_away(server: Server) -> None:
    """Texts, receipts, copies for the other clients and the archive work with the files as they are."""
    alice = UcOne(server, *server.new_account()).connect()
    jid, password = server.new_account()
    bob = UcOne(server, jid, password, resume=True).connect()
    second = UcOne(server, jid, password, resource="second").connect()
    sent = alice.send(f"{jid}/uc-one", "Hello")
    alice.wait_receipt(sent)
    assert second.wait(lambda: [each.body for each in second.carbons if each.body]) == ["Hello"]
    for client in (bob, second):
        client.disconnect()
    alice.send(jid, "While you were away")
    alice.sync()
    bob.connect()
    assert [each.body for each in bob.history() if each.body] == ["Hello", "While you were away"]


def test_scram_is_used_and_plain_is_not_offered(server: Server) -> None:
    """A client that knows PLAIN only is refused, so that no password crosses the wire."""
    jid, password = server.new_account()
    UcOne(server, jid, password).connect()
    assert all(mechanism.startswith("SCRAM-") for mechanism in server.mechanisms(jid))
    with pytest.raises(AssertionError, match=r"(?i)plain|mechanism|auth"):
        send_with("go-sendxmpp", server, jid, password, jid, "To myself")
    assert "PLAIN" not in server.mechanisms(jid)


def test_nobody_logs_in_without_tls(server: Server) -> None:
    """STARTTLS is required, and authentication is not offered before it."""
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(
            f"<stream:stream to='{server.domain}' xmlns='jabber:client' version='1.0' "
            "xmlns:stream='http://etherx.jabber.org/streams'>".encode()
        )
        offered = _read_until(connection, b"</stream:features>")
    assert b"<required" in offered
    assert b"PLAIN" not in offered
    assert b"SCRAM" not in offered


def test_the_gateway_is_taken_with_the_secret(server: Server) -> None:
    """XEP-0114 at the port and domain of the file."""
    address = (server.host, server.component_port)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(
            f"<stream:stream to='{server.component_domain}' xmlns='jabber:component:accept' "
            "xmlns:stream='http://etherx.jabber.org/streams'>".encode()
        )
        head = _read_until(connection, b">", after=b"<stream:stream").replace(b'"', b"'")
        stream = head.partition(b" id='")[2].partition(b"'")[0].decode()
        digest = sha1(f"{stream}{server.component_secret}".encode()).hexdigest()
        connection.sendall(f"<handshake>{digest}</handshake>".encode())
        assert b"<handshake" in _read_until(connection, b">")


def test_a_new_password_ends_sessions_on_prosody_when_an_administrator_sets_it() -> None:
    """What docs/xmpp.md tells operators about resets: S0.23 holds as far as the server lets it."""
    with DeployedProsody() as prosody:
        jid, password = prosody.new_account()
        client = UcOne(prosody, jid, password).connect()
        prosody.shell("user", "password", jid, "another-long-password")
        client.wait(lambda: not client.online)
        with pytest.raises(AssertionError, match="authentication failed"):
            client.connect()


def test_a_new_password_leaves_sessions_on_ejabberd_alone() -> None:
    """What docs/xmpp.md tells operators about resets: the old password only stops working for the next login."""
    with Ejabberd() as ejabberd:
        jid, password = ejabberd.new_account()
        client = UcOne(ejabberd, jid, password).connect()
        ejabberd.set_password(jid, "another-long-password")
        client.sync()
        assert client.online
        client.disconnect()
        with pytest.raises(AssertionError, match="authentication failed"):
            client.connect()


def _read_until(connection: socket.socket, end: bytes, after: bytes = b"") -> bytes:
    """What came, up to the first `end` behind `after`."""
    received = b""
    while end not in received.partition(after)[2] if after else end not in received:
        part = connection.recv(4096)
        assert part, received
        received += part
    return received
