"""The OCI-P client against a wire-level BroadWorks, over TCP and SOAP, and against servers that behave badly."""

from __future__ import annotations

import re
import socket
import ssl

import certifi
import pytest
from django.db import transaction

from cpaas.tests.raw_server import RawServer, reset, serving
from portal.outside import TransactionOpen
from tests.certificates import Authority
from tests.sandbox_process import BroadworksControl
from xmpp.broadworks import BroadworksError, Doubtful, Refused, Server, Unreachable, commands, run, tcp
from xmpp.tests.test_oci_documents import document

CHRIS = "chris@acme.example"


@pytest.fixture(params=["tcp", "soap"])
def server(request: pytest.FixtureRequest, broadworks: BroadworksControl) -> Server:
    """BroadWorks through either door."""
    port = broadworks.oci_port if request.param == "tcp" else broadworks.port
    return Server("127.0.0.1", port, request.param, broadworks.username, broadworks.password)


def test_reading_a_user(server, broadworks):
    """Profile, JID and devices come from BroadWorks, characters outside Latin-1 included."""
    shown = {
        "first_name": "Zoë",
        "last_name": "Łuk",
        "extension": "2001",
        "mobile": "07480542780",
        "country_code": "44",
    }
    broadworks.put_user(CHRIS, **shown, device={"name": "pc"})
    profile = run(server, commands.get_profile(CHRIS))
    assert (profile.name, profile.extension, profile.mobile) == ("Zoë Łuk", "2001", "07480542780")
    assert profile.country_code == "44"
    state = run(server, commands.get_imp_state(CHRIS))
    assert (state.assigned, state.active, state.imp_id) == (True, True, f"chris@{broadworks.imp_domain}")
    [device] = run(server, commands.list_devices(CHRIS, ["Business Communicator - PC"]))
    assert device.name == "pc"
    assert run(server, commands.list_devices(CHRIS, ["Desk phone"])) == []
    assert run(server, commands.list_users("sandbox", "sandbox")) == [CHRIS]
    assert run(server, commands.get_system_imp()).domain == broadworks.imp_domain


def test_writing_a_user(server, broadworks):
    """Assign, activate, password by UserModifyRequest22, tags, and the configuration pushed (S0.22); once each."""
    broadworks.put_user(CHRIS, imp={"assigned": False, "active": False}, device={"name": "pc"})
    state = run(server, commands.set_imp_state(CHRIS, assigned=True, active=True))
    assert (state.active, state.imp_id) == (True, f"chris@{broadworks.imp_domain}")
    run(server, commands.set_imp_password(CHRIS, "pass<&>'\"€ word"))
    [device] = run(server, commands.list_devices(CHRIS, []))
    assert run(server, commands.set_device_tags(device, {"%U%": "1", "%P%": "2"}))
    assert run(server, commands.set_device_tags(device, {"%U%": "1", "%P%": "3"}))
    assert not run(server, commands.set_device_tags(device, {"%U%": "1", "%P%": "3"}))
    run(server, commands.push_device_config(device))
    shown = broadworks.user(CHRIS)
    assert (shown["imp_password"], shown["imp_password_set_count"]) == ("pass<&>'\"€ word", 1)
    assert shown["device"]["tags"] == {"%U%": "1", "%P%": "3"}
    assert (shown["device"]["rebuilt"], shown["device"]["reset"]) == (1, 1)
    assert broadworks.commands().count("UserServiceAssignListRequest") == 1


@pytest.mark.parametrize(
    ("kind", "expected", "code"),
    [
        ("error_response", Refused, "4242"),
        ("drop", Doubtful, "disconnected"),
        ("reset", Doubtful, "disconnected"),
        ("xml", Doubtful, "unreadable"),
        ("timeout", Doubtful, "timeout"),
    ],
)
def test_each_fault_is_told_apart_and_the_next_session_works(server, broadworks, kind, expected, code):
    """A refusal is certain, anything else after the request went out is doubtful; nothing of it stays."""
    broadworks.put_user(CHRIS)
    broadworks.fault(
        "UserGetRequest23V2", kind, code="4242", summary="Not today", delay_s=30 if kind == "timeout" else 0
    )
    with pytest.raises(expected) as caught:
        run(server, commands.get_profile(CHRIS), timeout_s=0.5)
    assert caught.value.code == code
    assert run(server, commands.get_profile(CHRIS)).user_id == CHRIS


def test_a_soap_service_in_trouble_is_doubtful(broadworks):
    """An HTTP error says nothing about what was done."""
    broadworks.put_user(CHRIS)
    broadworks.fault("UserGetRequest23V2", "status", status=503)
    soap = Server("127.0.0.1", broadworks.port, "soap", broadworks.username, broadworks.password)
    with pytest.raises(Doubtful) as caught:
        run(soap, commands.get_profile(CHRIS))
    assert caught.value.code == "http 503"


def test_a_wrong_login_and_an_unknown_user_are_refused_in_words(server, broadworks):
    with pytest.raises(Refused, match="User not found"):
        run(server, commands.get_profile("nobody@acme.example"))
    wrong = Server(server.host, server.port, server.transport, server.username, "wrong")
    with pytest.raises(Refused, match="refused the login"):
        run(wrong, commands.get_system_imp())


def test_a_server_that_is_not_there_surely_did_nothing(server, broadworks):
    broadworks.settings(state="refusing")
    with pytest.raises(Unreachable):
        run(server, commands.get_system_imp())


def test_private_addresses_are_refused(server, settings):
    """Hosts are typed by tenants and must not reach our own network (contracts 2)."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    with pytest.raises(Refused) as caught:
        run(server, commands.get_system_imp())
    assert caught.value.code == "forbidden_address"


@pytest.mark.django_db
def test_no_transaction_is_open_while_broadworks_is_asked(server):
    """Architecture 3.3."""
    with transaction.atomic(), pytest.raises(TransactionOpen):
        run(server, commands.get_system_imp())


# --- Servers that behave badly --------------------------------------------------------------------------------------
def ask(raw: RawServer, timeout_s: float = 0.5) -> object:
    host, port = raw.listener.getsockname()
    return run(Server(host, port, "tcp", "admin", "x"), commands.get_profile(CHRIS), timeout_s=timeout_s)


def test_a_server_that_hangs_up_is_an_error_and_no_spin(settings):
    """The library before us waited for ever at full CPU when the server closed (facts 4)."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    with serving(lambda _, connection: connection.close()) as raw, pytest.raises(Doubtful):
        ask(raw, timeout_s=60)
    with serving(lambda _, connection: reset(connection)) as raw, pytest.raises(BroadworksError):
        ask(raw, timeout_s=60)
    assert raw.connections == 1


def test_an_answer_in_crumbs_does_not_outlast_the_time_out(settings):
    """The time-out is that of the whole answer, not of each byte."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    with serving(lambda server, connection: server.drip(connection)) as raw, pytest.raises(Doubtful) as caught:
        ask(raw)
    assert caught.value.code == "timeout"


def test_an_answer_without_end_is_cut(settings):
    """A huge answer fills no memory."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = True

    def flood(server: RawServer, connection: socket.socket) -> None:
        while not server.closing.is_set():
            connection.sendall(b"x" * 1_000_000)

    with serving(flood) as raw, pytest.raises(Doubtful) as caught:
        ask(raw, timeout_s=60)
    assert caught.value.code == "too_long"


@pytest.mark.parametrize("is_trusted", [True, False])
def test_tls_is_checked(broadworks, tmp_path, monkeypatch, is_trusted):
    """With TLS passwords cross no network in plain, and a certificate that nobody vouches for is not spoken to."""
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1")
    for name, text in (("server.crt", certificate), ("server.key", key), ("ca.crt", authority.pem)):
        (tmp_path / name).write_text(text)
    if is_trusted:
        monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "ca.crt"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")

    def pass_on(server: RawServer, connection: socket.socket) -> None:
        with (
            context.wrap_socket(connection, server_side=True) as secure,
            socket.create_connection(("127.0.0.1", broadworks.oci_port)) as inner,
        ):
            while data := secure.recv(65536):
                inner.sendall(data)
                secure.sendall(inner.recv(65536))

    with serving(pass_on) as raw:
        host, port = raw.listener.getsockname()
        server = Server(host, port, "tcp", broadworks.username, broadworks.password, tls=True)
        if is_trusted:
            assert run(server, commands.get_system_imp()).domain == broadworks.imp_domain
        else:
            with pytest.raises(Unreachable, match="secure connection"):
                run(server, commands.get_system_imp())


def test_an_answer_to_another_question_is_passed_over(settings):
    """Documents of another session are not taken for ours."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = True

    def stray(server: RawServer, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(document("<nonce>1</nonce>", "AuthenticationResponse", session="another"))
        server.closing.wait(30)

    with serving(stray) as raw, pytest.raises(Doubtful) as caught:
        ask(raw)
    assert caught.value.code == "timeout"


def test_an_answer_that_comes_twice_answers_once(settings):
    """Else everything after it would be taken for the answer to the question before: a refusal for a success."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    answers = {
        b"AuthenticationRequest": ("<nonce>1</nonce>", "AuthenticationResponse"),
        b"LoginRequest14sp4": ("", "LoginResponse14sp4"),
        b"UserModifyRequest22": ("<summaryEnglish>[Error 7] No</summaryEnglish>", "c:ErrorResponse"),
    }

    def stutter(server: RawServer, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            [session] = re.findall(rb"<sessionId[^>]*>([^<]*)<", data)
            [(content, kind)] = [answer for name, answer in answers.items() if name in data]
            connection.sendall(document(content, kind, session.decode()) * 2)

    with serving(stutter) as raw:
        host, port = raw.listener.getsockname()
        with pytest.raises(Refused, match="No"):
            run(Server(host, port, "tcp", "admin", "x"), commands.set_imp_password(CHRIS, "quite secret indeed"))


def test_a_session_comes_to_an_end(broadworks, monkeypatch):
    """As with SOAP: a server that answers each of many questions only just in time holds nobody for hours."""
    broadworks.put_user(CHRIS)
    monkeypatch.setattr(tcp, "LONGEST_S", -1.0)
    server = Server("127.0.0.1", broadworks.oci_port, "tcp", broadworks.username, broadworks.password)
    with pytest.raises(Unreachable) as caught:
        run(server, commands.get_profile(CHRIS))
    assert caught.value.code == "endless"


def test_a_value_that_xml_cannot_hold_is_not_sent(server, broadworks):
    """A refusal like another, and the session goes on."""
    broadworks.put_user(CHRIS)
    with pytest.raises(Refused) as caught:
        run(server, commands.set_imp_password(CHRIS, "bell\x07ringing"))
    assert caught.value.code == "illegal"
    found = run(server, commands.get_users(["no\x00body", CHRIS]))
    assert [(each.user_id, each.profile is None) for each in found] == [("no\x00body", True), (CHRIS, False)]
    assert broadworks.user(CHRIS)["imp_password"] is None
