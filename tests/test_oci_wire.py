"""OCI-P from both ends: what our client writes the simulator reads, the other way round, and neither is broken by
anything else. Two parsers written apart, so that one's mistake is not the other's."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpaas.carriers import base as http
from cpaas.tests.raw_server import RawServer, serving
from sandbox.broadworks import wire
from xmpp.broadworks import BroadworksError, Server, commands, documents, run, soap
from xmpp.broadworks.documents import Answer, Command, Operation
from xmpp.broadworks.login import logged_in

pytestmark = pytest.mark.fuzz
# What XML can hold; white space at the ends is nothing that our reader keeps.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=40
).map(str.strip)
NAMES = ["userId", "impPassword", "groupId", "tagName", "tagValue", "isActive"]
DEVICE = commands.Device("sp", "group", "pc")
OPERATIONS: dict[str, Callable[[], Operation[Any]]] = {
    "system": commands.get_system_imp,
    "state": lambda: commands.get_imp_state("chris"),
    "switch": lambda: commands.set_imp_state("chris", assigned=True, active=True),
    "password": lambda: commands.set_imp_password("chris", "a new password"),
    "users": lambda: commands.get_users(["chris", "dana"]),
    "list": lambda: commands.list_users("sp", "group"),
    "devices": lambda: commands.list_devices("chris", ["Business Communicator - PC"]),
    "tags": lambda: commands.set_device_tags(DEVICE, {"%USER%": "chris"}),
    "push": lambda: commands.push_device_config(DEVICE),
    "login": lambda: logged_in("admin", "password", commands.get_profile("chris")),
}


def enveloped(text: str) -> bytes:
    answer = wire.Response("UserServiceIsAssignedResponse", {"isAssigned": True, "note": text})
    return wire.write_envelope(wire.write_response("s", answer)).encode()


def document(text: str) -> bytes:
    return wire.write_response("s", wire.Response("AuthenticationResponse", {"nonce": text}))


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS), TEXTS)
def test_what_we_write_the_simulator_reads(fields: dict[str, str], session: str) -> None:
    """Over TCP as it is, and inside the envelope of SOAP."""
    written = documents.write_document(session, Command("UserModifyRequest22", fields))
    for document in (written, wire.read_envelope(soap.write_envelope(written))):
        request = wire.read_request(document)
        assert (request.session_id, request.name, dict(request.fields)) == (session, "UserModifyRequest22", fields)


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS), st.lists(st.lists(TEXTS, min_size=2, max_size=2), max_size=5))
def test_what_the_simulator_writes_we_read(fields: dict[str, str], rows: list[list[str]]) -> None:
    """Elements and tables, by both doors."""
    table = wire.Table(["User Id", "Last Name"], rows)
    written = wire.write_response("s", wire.Response("UserGetResponse23V2", {**fields, "userTable": table}))
    for answer in (
        documents.read_document(written),
        documents.read_document(soap.read_envelope(wire.write_envelope(written).encode())),
    ):
        assert {name: answer.text(name) for name in fields} == fields
        assert [list(row.values()) for row in answer.table("userTable")] == rows


@given(st.binary(max_size=300) | TEXTS.map(str.encode), st.integers(0, 300), st.integers(0, 300))
def test_neither_reader_is_broken_by_any_bytes(content: bytes, start: int, end: int) -> None:
    """Bytes of no form, and a document of the other side with a piece replaced by them."""
    ours = documents.write_document("s", Command("UserModifyRequest22", {"userId": "chris"}))
    theirs = wire.write_response("s", wire.Response("UserGetResponse23V2", {"userId": "chris"}))
    for document in (content, ours[:start] + content + ours[end:], theirs[:start] + content + theirs[end:]):
        for read in (wire.read_request, wire.read_envelope, documents.read_document, soap.read_envelope):
            with suppress(ValueError):
                read(document)


LEAVES = [*NAMES, "isAssigned", "impId", "nonce", "deviceLevel", "deviceName", "summary", "colHeading", "col"]
PARENTS = ["userTable", "endpointTable", "deviceCustomTagsTable", "row", "accessDeviceEndpoint", "accessDevice"]
WORDS = ["true", "Group", "", "User Id", "Device Level", "[Error 4008] No"]


def element(name: str, text: str | None, children: list[Element]) -> Element:
    made = Element(name)
    made.text = text
    made.extend(children)
    return made


ELEMENTS = st.recursive(
    st.builds(element, st.sampled_from(LEAVES), st.sampled_from(WORDS) | TEXTS, st.just([])),
    lambda inner: st.builds(element, st.sampled_from(PARENTS), st.none(), st.lists(inner, max_size=4)),
    max_leaves=10,
)
ANSWERS = st.builds(
    lambda name, children: Answer(name, "s", element("command", None, children)),
    st.sampled_from(["SuccessResponse", "UserGetResponse23V2", "ErrorResponse"]),
    st.lists(ELEMENTS, max_size=6),
)


@pytest.mark.parametrize("operation", OPERATIONS)
@given(answers=st.lists(ANSWERS | st.builds(BroadworksError, TEXTS), min_size=12, max_size=12))
def test_any_answers_are_made_something_of(operation: str, answers: list[Answer | BroadworksError]) -> None:
    """Whatever BroadWorks says in whatever order: a result, or an error of ours."""
    asked = OPERATIONS[operation]()
    with suppress(BroadworksError, StopIteration):
        command = next(asked)
        for answer in answers:
            documents.write_document("s", command)
            command = asked.throw(answer) if isinstance(answer, BroadworksError) else asked.send(answer)
    asked.close()


@given(
    st.lists(
        st.builds(
            http.HttpResponse,
            st.sampled_from([200, 302, 500, 503]),
            st.dictionaries(st.just("set-cookie"), st.text(st.characters(max_codepoint=255), max_size=60)),
            st.binary(max_size=200) | TEXTS.map(enveloped),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_http_answers_are_made_something_of(responses: list[http.HttpResponse]) -> None:
    """Statuses, cookies and bodies of any kind; what is sent back fits into a header."""
    exchange = soap.over_http("http://bw.example/", commands.get_imp_state("chris"))
    with suppress(BroadworksError, StopIteration):
        request = next(exchange)
        for response in responses:
            assert "\n" not in request.headers.get("Cookie", "")
            request = exchange.send(response)
    exchange.close()


@pytest.fixture
def babbling(settings: Any) -> Iterator[tuple[RawServer, list[bytes]]]:
    """A server that answers each connection's first request with these pieces, and hangs up."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    pieces: list[bytes] = []

    def babble(_: RawServer, connection: socket.socket) -> None:
        connection.recv(65536)
        for piece in pieces:
            connection.sendall(piece)

    with serving(babble) as server:
        yield server, pieces


@settings(max_examples=50)
@given(sent=st.lists(st.binary(min_size=1, max_size=100) | TEXTS.map(document), max_size=4))
def test_any_stream_is_made_something_of(babbling: tuple[RawServer, list[bytes]], sent: list[bytes]) -> None:
    """Over a real connection: an error of ours, never another one, and never a wait without end."""
    server, pieces = babbling
    pieces[:] = sent
    host, port = server.listener.getsockname()
    with pytest.raises(BroadworksError):
        run(Server(host, port, "tcp", "admin", "x"), commands.get_system_imp(), timeout_s=20)
