"""The transport over TLS: whom it trusts, and that its time-outs hold there as well."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest
import requests.adapters
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cpaas.carriers.base import Doubtful, HttpRequest, NotTaken, Operation
from cpaas.tests.raw_server import RawServer, http, serving
from cpaas.transport import client_session, run, run_async


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "carrier")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "carrier.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def over_tls(certificate: Path, behaviour: Callable[[RawServer, socket.socket], None]) -> Any:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def behave(server: RawServer, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            behaviour(server, secure)

    return behave


def ask(url: str) -> Operation[list[bytes]]:
    first = yield HttpRequest("POST", url, body=b"1")
    second = yield HttpRequest("POST", url, body=b"2")
    return [first.body, second.body]


def blocking(url: str, **limits: float) -> Any:
    return run(ask(url), **limits)


def streaming(url: str, **limits: float) -> Any:
    async def call() -> Any:
        async with client_session() as session:
            return await run_async(ask(url), session, **limits)

    return asyncio.run(call())


@pytest.fixture(params=[blocking, streaming], ids=["blocking", "async"])
def drive(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param


@pytest.fixture
def _trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certifi, "where", lambda: str(certificate))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(certificate))


def twice(server: RawServer, connection: socket.socket) -> None:
    for body in (b"one", b"two"):
        server.read_request(connection)
        connection.sendall(http(body))


def drips_after_the_first(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    connection.sendall(http(b"one"))
    server.read_request(connection)
    server.drip(connection, b"HTTP/1.1 200 OK\r\nX-Long: ")


@pytest.mark.usefixtures("_trusted")
def test_a_trusted_carrier_is_called_on_one_connection(drive: Callable[..., Any], certificate: Path) -> None:
    with serving(over_tls(certificate, twice)) as server:
        assert drive(server.url.replace("http:", "https:")) == [b"one", b"two"]
        assert server.connections == 1


def test_r32_an_untrusted_certificate_gets_no_request(drive: Callable[..., Any], certificate: Path) -> None:
    with serving(over_tls(certificate, twice)) as server:
        with pytest.raises(NotTaken, match="a secure connection could not be made"):
            drive(server.url.replace("http:", "https:"))
        assert server.requests == []


@pytest.mark.usefixtures("_trusted")
def test_r32_no_whole_answer_in_time_is_doubtful_over_tls(drive: Callable[..., Any], certificate: Path) -> None:
    with serving(over_tls(certificate, drips_after_the_first)) as server, pytest.raises(Doubtful) as caught:
        drive(server.url.replace("http:", "https:"), timeout_s=2)
    assert caught.value.code == "timeout"
