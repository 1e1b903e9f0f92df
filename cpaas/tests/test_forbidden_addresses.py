"""SSRF: base URLs are typed by tenants, and whatever they say, our own network gets no connection from us."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpaas import transport
from cpaas.carriers.base import CarrierError, Refused
from cpaas.tests.raw_server import RawServer, answering, http, serving
from cpaas.tests.test_transport import Drive, ask, blocking, streaming
from portal.addresses import is_public

# IANA's special-purpose registries, without what is public after all.
NETWORKS_4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
NETWORKS_6 = [
    "::/128",
    "::1/128",
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:2::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "0177.0.0.1",
    "0177.1",
    "2130706433",
    "017700000001",
    "0x7f.1",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "127.0.0.01",
    "localhost",
    "LOCALHOST",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::1%25lo]",
    "①27.0.0.1",
    "127。0。0。1",
    "１２７.0.0.1",
    "user@127.0.0.1",
    "user:pass@127.0.0.1",
    "8.8.8.8@127.0.0.1",
]


@pytest.fixture(params=[blocking, streaming], ids=["blocking", "async"])
def drive(request: pytest.FixtureRequest) -> Drive:
    return request.param


@pytest.fixture(autouse=True)
def _private_addresses_are_refused(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = False


@pytest.fixture
def server() -> Iterator[RawServer]:
    """Somebody in our own network, who must not be reached."""
    with serving(answering(http())) as found:
        yield found


def resolving_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """DNS says these addresses, the last ones from then on."""
    told = list(answers)

    def resolve(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        addresses = told.pop(0) if len(told) > 1 else told[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port or 0))) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def failure(drive: Drive, url: str) -> CarrierError:
    with pytest.raises(CarrierError) as caught:
        drive(ask(url), connect_timeout_s=2)
    return caught.value


# --- Which addresses are public ---
def addresses_in(networks: list[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(network=network))


@given(addresses_in(NETWORKS_4))
def test_no_special_ipv4_address_is_public_nor_wrapped_in_ipv6(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    mapped = ipaddress.IPv6Address(0xFFFF << 32 | number)
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number)
    tunnelled = ipaddress.IPv6Address(0x2002 << 112 | number << 80 | 1)
    compatible = ipaddress.IPv6Address(number)
    for each in (address, mapped, translated, tunnelled, compatible):
        assert not is_public(str(each)), each


@given(addresses_in(NETWORKS_6))
def test_no_special_ipv6_address_is_public(address: ipaddress.IPv6Address) -> None:
    assert not is_public(str(address))
    assert not is_public(f"{address}%eth0")


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_servers_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@given(st.text(max_size=60))
def test_what_is_no_address_is_not_public(text: str) -> None:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        assert not is_public(text)


# --- What is typed ---
@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_our_own_machine_is_saved_or_called(drive: Drive, server: RawServer, host: str) -> None:
    url = f"http://{host}:{server.url.rpartition(':')[2]}/"
    assert isinstance(failure(drive, url), CarrierError)
    assert (server.connections, server.requests) == (0, [])


@pytest.mark.parametrize("host", [spelling for spelling in SPELLINGS if "%" not in spelling])
def test_no_spelling_of_our_own_machine_is_taken_for_a_base_url(host: str) -> None:
    with pytest.raises(ValueError, match=r"must not|not valid|not allowed"):
        transport.check_base_url(f"https://{host}/api")


HOSTS = st.one_of(
    st.sampled_from(SPELLINGS),
    addresses_in(NETWORKS_4).map(lambda address: str(int(address))),
    addresses_in(NETWORKS_4).map(lambda address: hex(int(address))),
    addresses_in(NETWORKS_4).map(str),
    addresses_in(NETWORKS_6).map(lambda address: f"[{address}]"),
)
PARTS = st.sampled_from(
    ["", "/", "/api", "/../", "?a=1", "#f", "//", "\\@8.8.8.8", "#@8.8.8.8", "?@8.8.8.8", "\t", "\r\n"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["http", "https", "HTTP", "ftp", "file", "gopher", "javascript", ""]),
    st.sampled_from(["", "user@", "user:secret@", "8.8.8.8@", "8.8.8.8:80@"]),
    HOSTS,
    st.sampled_from(["", ":80", ":22", ":0", ":65536", ":x"]),
    PARTS,
)
def test_nothing_that_leads_inside_is_taken_for_a_base_url(
    scheme: str, user: str, host: str, port: str, rest: str
) -> None:
    with pytest.raises(ValueError):
        transport.check_base_url(f"{scheme}://{user}{host}{port}{rest}")


# --- What DNS says ---
def test_a_name_with_one_private_address_among_public_ones_is_refused(
    drive: Drive, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving_to(monkeypatch, ["93.184.216.34", "127.0.0.1"])
    error = failure(drive, server.url.replace("127.0.0.1", "mixed.example"))
    assert (type(error), error.code, server.connections) == (Refused, "forbidden_address", 0)
    with pytest.raises(ValueError, match=r"mixed\.example leads to a private or local address"):
        transport.check_base_url("https://mixed.example/")


def test_a_name_that_was_public_on_save_and_leads_inside_when_called_gets_no_byte(
    drive: Drive, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding, at every look-up there is: saved, checked before the call, connected."""
    for public_first in (1, 2) if drive is blocking else (1,):
        resolving_to(monkeypatch, *[["93.184.216.34"]] * public_first, ["127.0.0.1"])
        transport.check_base_url("https://rebinding.example/")
        error = failure(drive, server.url.replace("127.0.0.1", "rebinding.example"))
        assert (type(error), server.requests) == (Refused, [])


def test_a_redirect_inside_is_handed_back_and_takes_no_credentials_along(drive: Drive, settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True  # both ends are on this machine: what counts is that nobody follows
    with serving(answering(http())) as inside:
        for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"):
            with serving(answering(http(b"", status, f"Location: {inside.url}/latest/meta-data"))) as carrier:
                assert drive(ask(carrier.url)).status == int(status[:3])
        assert (inside.connections, inside.requests) == (0, [])
