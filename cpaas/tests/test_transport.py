"""The transport against real sockets: what surely was not taken, what is doubtful, and what is never done (R32)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from cpaas import transport
from cpaas.carriers.base import CarrierError, Doubtful, HttpRequest, HttpResponse, NotTaken, Operation, Refused
from cpaas.tests.raw_server import RawServer, answering, http, reset, serving
from cpaas.transport import TransactionOpen, client_session, run, run_async
from cpaas.transport import blocking as blocking_transport

Drive = Callable[..., Any]


def blocking(operation: Operation[Any], **limits: float) -> Any:
    return run(operation, **limits)


def streaming(operation: Operation[Any], **limits: float) -> Any:
    async def call() -> Any:
        async with client_session() as session:
            return await run_async(operation, session, **limits)

    return asyncio.run(call())


@pytest.fixture(params=[blocking, streaming], ids=["blocking", "async"])
def drive(request: pytest.FixtureRequest) -> Drive:
    """Every rule holds for both ways to drive an operation."""
    return request.param


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True


def ask(url: str, body: bytes = b'{"a":1}', **options: Any) -> Operation[HttpResponse]:
    return (yield HttpRequest("POST", url, {"Authorization": "Bearer s3cret"}, body, **options))


def failure(drive: Drive, url: str, **limits: float) -> CarrierError:
    with pytest.raises(CarrierError) as caught:
        drive(ask(url), **limits)
    assert caught.value.detail.endswith(".")
    return caught.value


def test_an_answer_comes_back_whole(drive: Drive) -> None:
    with serving(answering(http(b'{"ok":true}', "201 Created", "X-Thing: A"))) as server:
        response = drive(ask(server.url + "/rest/publishMessages"))
    assert (response.status, response.body, response.headers["x-thing"]) == (201, b'{"ok":true}', "A")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /rest/publishMessages HTTP/1.1\r\n")
    assert b"authorization: bearer s3cret" in head.lower()
    assert body == b'{"a":1}'


@pytest.mark.parametrize("status", ["401 Unauthorized", "431 X", "500 Oops", "502 Bad Gateway", "503 Unavailable"])
def test_a_bad_status_is_an_answer_for_the_adapter_to_judge(drive: Drive, status: str) -> None:
    with serving(answering(http(b"<html>Oops</html>", status))) as server:
        response = drive(ask(server.url))
    assert (str(response.status), response.body) == (status[:3], b"<html>Oops</html>")


def test_redirects_are_not_followed(drive: Drive) -> None:
    with (
        serving(answering(http(b""))) as target,
        serving(answering(http(b"", "307 Temporary Redirect", f"Location: {target.url}/elsewhere"))) as server,
    ):
        assert drive(ask(server.url)).status == 307
        assert target.connections == 0


def test_an_operation_of_several_exchanges_uses_one_connection(drive: Drive) -> None:
    def operation(url: str) -> Operation[list[bytes]]:
        first = yield HttpRequest("POST", url, body=b"1")
        second = yield HttpRequest("POST", url, body=b"2")
        return [first.body, second.body]

    with serving(answering(http(b"one"), http(b"two"))) as server:
        assert drive(operation(server.url)) == [b"one", b"two"]
        assert server.connections == 1


# --- Surely not taken -----------------------------------------------------------------------------------------------


def test_r32_a_refused_connection_was_not_taken(drive: Drive) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = failure(drive, f"http://127.0.0.1:{port}")
    assert isinstance(error, NotTaken)
    assert error.detail == "127.0.0.1 could not be reached: it refused the connection."


def test_r32_an_unknown_name_was_not_taken(drive: Drive) -> None:
    error = failure(drive, "https://carrier.invalid/rest")
    assert isinstance(error, NotTaken)
    assert error.detail == "carrier.invalid could not be reached: its name was not found."


def test_r32_a_failed_tls_handshake_was_not_taken(drive: Drive) -> None:
    def no_tls(server: RawServer, connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(no_tls) as server:
        error = failure(drive, server.url.replace("http:", "https:"))
    assert isinstance(error, NotTaken)
    assert error.detail == "127.0.0.1 could not be reached: a secure connection could not be made."


def test_r32_a_handshake_that_never_ends_was_not_taken(drive: Drive) -> None:
    with serving(lambda server, connection: server.closing.wait()) as server:
        error = failure(drive, server.url.replace("http:", "https:"), connect_timeout_s=0.2)
    assert isinstance(error, NotTaken)


def test_r32_a_connection_that_is_not_accepted_in_time_was_not_taken(drive: Drive) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            error = failure(drive, f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout_s=0.2)
        finally:
            for one in waiting:
                one.close()
    assert isinstance(error, NotTaken)
    assert error.detail == "127.0.0.1 could not be reached: it did not accept the connection in time."


@pytest.mark.parametrize("url", ["http://[broken", "ftp://127.0.0.1/x", "http://", "nonsense"])
def test_an_address_that_is_none_is_refused(drive: Drive, url: str) -> None:
    assert isinstance(failure(drive, url), Refused)


# --- Doubtful -------------------------------------------------------------------------------------------------------


def silent(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    server.closing.wait()


def closes(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)


def resets(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    reset(connection)


def stops_in_the_body(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"success":')


def talks_nonsense(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    connection.sendall(b"\x00\x01 hello\r\n\r\n")


@pytest.mark.parametrize("behaviour", [closes, resets, stops_in_the_body, talks_nonsense])
def test_r32_a_connection_lost_after_the_request_is_doubtful(drive: Drive, behaviour: Any) -> None:
    with serving(behaviour) as server:
        error = failure(drive, server.url)
    assert isinstance(error, Doubtful)
    assert error.code == "disconnected"


def drips_its_head(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    server.drip(connection, b"HTTP/1.1 200 OK\r\nX-Long: ")


def drips_a_body(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    server.drip(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")


def drips_a_body_of_no_length(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    server.drip(connection, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("behaviour", [silent, drips_its_head, drips_a_body, drips_a_body_of_no_length])
def test_r32_no_whole_answer_in_time_is_doubtful(drive: Drive, behaviour: Any) -> None:
    with serving(behaviour) as server:
        error = failure(drive, server.url, timeout_s=2)
    assert isinstance(error, Doubtful)
    assert (error.code, error.detail) == ("timeout", "127.0.0.1 did not answer within 2 seconds.")


def test_r32_a_second_exchange_on_a_lost_connection_is_doubtful(drive: Drive) -> None:
    def operation(url: str) -> Operation[None]:
        yield HttpRequest("POST", url, body=b"1")
        yield HttpRequest("POST", url, body=b"2")

    def resets_the_second(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(http(b"one"))
        server.read_request(connection)
        reset(connection)

    with serving(resets_the_second) as server, pytest.raises(Doubtful):
        drive(operation(server.url))


def test_an_operation_may_react_to_what_went_wrong(drive: Drive) -> None:
    def operation(bad: str, good: str) -> Operation[int]:
        try:
            yield HttpRequest("POST", bad)
        except Doubtful:
            return (yield HttpRequest("POST", good)).status
        return 0

    with serving(resets) as bad, serving(answering(http())) as good:
        assert drive(operation(bad.url, good.url)) == 200


# --- What is never done ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "value"), [("LONGEST_S", 0.3), ("MOST_BYTES", 1000)])
def test_a_list_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch, limit: str, value: float) -> None:
    def every_page(url: str) -> Operation[None]:
        while True:
            yield HttpRequest("POST", url, body=b"1")

    monkeypatch.setattr(blocking_transport, limit, value)
    with serving(answering(*[http(b"{}")] * 10_000)) as server, pytest.raises(NotTaken, match="come to an end"):
        run(every_page(server.url))


def test_an_answer_is_read_up_to_its_limit(drive: Drive) -> None:
    with serving(answering(http(b"x" * 3_000_000))) as server:
        assert len(drive(ask(server.url)).body) == 1_000_000
    with serving(answering(http(b"x" * 3_000_000))) as server:
        assert len(drive(ask(server.url, max_response_bytes=2_500_000)).body) == 2_500_000


def test_a_proxy_of_the_environment_is_not_used(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(answering(http())) as server:
        assert drive(ask(server.url)).status == 200


@pytest.mark.django_db(transaction=True)
def test_a_carrier_is_never_called_inside_a_transaction() -> None:
    with serving(answering(http())) as server:
        with transaction.atomic(), pytest.raises(TransactionOpen):
            run(ask(server.url))
        assert server.connections == 0
        assert run(ask(server.url)).status == 200


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    with caplog.at_level(logging.INFO, "cpaas.transport.exchanges"):
        yield lambda: [record.msg for record in caplog.records if isinstance(record.msg, dict)]


def test_an_exchange_is_logged_without_secrets(drive: Drive, lines: Callable[[], list[dict[str, Any]]]) -> None:
    account = "AC" + "0123456789abcdef" * 2

    def operation(url: str) -> Operation[None]:
        yield HttpRequest("POST", url, {"X-Api-Key": "s3cret"}, b"hidden")

    with serving(answering(http(b'{"answer":"hidden"}'))) as server:
        url = server.url.replace("http://", "http://user:pass@") + f"/v1/{account}/Messages?key=hidden#hidden"
        drive(operation(url))
    (line,) = lines()
    port = server.url.rsplit(":", 1)[1]
    assert (line["event"], line["method"], line["status"], line["outcome"]) == ("carrier_call", "POST", 200, "answered")
    assert line["url"] == f"http://127.0.0.1:{port}/v1/…/Messages"
    assert isinstance(line["ms"], int)
    assert not any(secret in str(line) for secret in ("s3cret", "hidden", "pass", account))


def test_a_failed_exchange_is_logged_with_its_outcome(drive: Drive, lines: Callable[[], list[dict[str, Any]]]) -> None:
    with serving(resets) as server:
        failure(drive, server.url)
    (line,) = lines()
    assert (line["status"], line["outcome"]) == (None, "disconnected")


# --- Our own network stays out of reach -----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "2130706433"])
def test_private_addresses_are_not_called(drive: Drive, settings: Any, host: str) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    with serving(answering(http())) as server:
        error = failure(drive, server.url.replace("127.0.0.1", host))
        assert isinstance(error, Refused)
        assert server.connections == 0


def test_a_name_that_changes_to_a_private_address_gets_no_request(
    drive: Drive, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, loopback when it is connected to."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    answers = iter(["93.184.216.34"] if drive is blocking else [])

    def resolve(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.1"), port or 0))]

    with serving(silent) as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        error = failure(drive, server.url.replace("127.0.0.1", "rebinding.example"))
        assert isinstance(error, Refused)
        assert error.code == "forbidden_address"
        assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8100/inteliquent/broker",
        "https://localhost/",
        "http://10.1.2.3",
        "http://172.16.0.1",
        "http://192.168.1.1/api",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1",
        "http://0.0.0.0",
        "http://224.0.0.1",
        "http://[::1]/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://127.1/",
        "http://0x7f000001/",
    ],
)
def test_a_base_url_into_our_own_network_needs_the_setting(settings: Any, url: str) -> None:
    transport.check_base_url(url)
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    with pytest.raises(ValueError, match="private or local address"):
        transport.check_base_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "services.inteliquent.com",
        "ftp://services.inteliquent.com",
        "file:///etc/passwd",
        "https://",
        "https://user:pass@services.inteliquent.com",
        "https://user@services.inteliquent.com",
        "https://services.inteliquent.com/?a=1",
        "https://services.inteliquent.com/#a",
        "https://services.inteliquent.com:99999",
        "https://services.inteliquent.com:port",
        "https://services inteliquent.com",
        "https://services.inteliquent.com\r\nHost: x",
        "http://[broken",
        "https://x.test/" + "a" * 500,
    ],
)
def test_a_base_url_that_is_none_is_refused_even_with_the_setting(url: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        transport.check_base_url(url)


@pytest.mark.parametrize(
    "url", ["https://8.8.8.8/Services/2.0.0", "http://[2001:4860:4860::8888]:8080/", "https://x.invalid"]
)
def test_public_and_unresolvable_base_urls_pass(settings: Any, url: str) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    transport.check_base_url(url)
