"""LDAP directories, against a real OpenLDAP server (S1.35)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.directory.entries import Dialled
from portal.directory.sources import SourceError, Where
from portal.directory.sources.base import Unfit
from portal.directory.sources.ldap import Ldap, _escaped
from portal.directory.tests.ldap_server import LdapServer
from portal.directory.tests.slow_server import drip

STAR = "Star * (Sample) \\ Müller"
PEOPLE = [
    ("Grace Hopper", {"o": "Navy", "mobile": "+1 (202) 555-0131", "telephoneNumber": "202-555-0132"}),
    ("José Ñandú", {"homePhone": "+44 7480 542780"}),
    (STAR, {"telephoneNumber": "not a number"}),
]
SOURCE = Ldap()
PATIENT_S = 30


@pytest.fixture(scope="module")
def server() -> Iterator[LdapServer]:
    running = LdapServer(PEOPLE)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True


def where(server: LdapServer, **changes: Any) -> Where:
    given = server.settings(**changes)
    password = given.pop("password")
    defaults = {setting.name: setting.default for setting in SOURCE.settings if not setting.secret}
    return Where({**defaults, **given}, {"password": password}, "US")


def search(place: Where, text: str) -> list[str]:
    return [details.name for details in SOURCE.search(place, text, PATIENT_S)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("grace", "Grace Hopper"), ("hop gra", "Grace Hopper"), ("navy", "Grace Hopper"), ("ñandú", "José Ñandú"),
     ("star *", STAR), ("\\", STAR), ("(sam", STAR)],
)  # fmt: skip
def test_s1_35_found_by_words_of_the_name(server: LdapServer, text: str, expected: str) -> None:
    assert search(where(server), text) == [expected]


@pytest.mark.parametrize("text", ["*)(cn=*", "grace)(|(cn=*", "nobody", "\\2a", "a*b", "grace*"])
def test_what_is_typed_is_never_part_of_the_filter(server: LdapServer, text: str) -> None:
    assert search(where(server), text) == []


@pytest.mark.parametrize("number", ["+12025550131", "+12025550132", "+447480542780"])
def test_found_by_a_number_however_it_is_written(server: LdapServer, number: str) -> None:
    [found] = SOURCE.with_number(where(server), number, PATIENT_S)
    assert Dialled(number, found.numbers[0].type) in found.numbers or number in [one.number for one in found.numbers]
    assert SOURCE.with_number(where(server), "+12025550199", PATIENT_S) == []


def test_what_is_read_of_an_entry(server: LdapServer) -> None:
    [found] = SOURCE.search(where(server), "hopper", PATIENT_S)
    assert (found.name, found.company, found.kind) == ("Grace Hopper", "Navy", "person")
    assert found.numbers == (Dialled("+12025550131", "mobile"), Dialled("+12025550132", "work"))
    assert found.key.startswith("uid=")


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_each_security(server: LdapServer, security: str) -> None:
    port = server.tls_port if security == "tls" else server.port
    assert len(SOURCE.test(where(server, security=security, port=port), PATIENT_S)) == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"password": "wrong"}, "refused the bind DN"), ({"base_dn": "ou=nowhere,dc=acme,dc=example"}, "base DN does not"),
     ({"ca_certificate": ""}, "certificate was not accepted"), ({"port": 9}, "could not be reached"),
     ({"host": "nowhere.invalid"}, "was not found"), ({"base_dn": "x"}, "not written as the server wants"),
     ({"bind_dn": ""}, "refused"), ({"filter": "(cn=)("}, "filter")],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(server: LdapServer, changes: Any, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence) as raised:
        SOURCE.test(where(server, **changes), PATIENT_S)
    assert server.settings()["password"] not in str(raised.value)


def test_a_server_that_never_answers(server: LdapServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = where(server, port=silent.getsockname()[1], security="none")
        with pytest.raises(SourceError, match=r"did not answer|could not be reached"):
            SOURCE.test(place, 0.5)


def test_a_server_that_says_a_byte_now_and_then(server: LdapServer) -> None:
    """It would keep a thread for good that the searches of all tenants share."""
    with socket.create_server(("127.0.0.1", 0)) as slow, ThreadPoolExecutor() as pool:
        hung_up = pool.submit(drip, slow, b"\x30\x84\x7f\xff\xff\xff")  # a message of two gigabytes
        with pytest.raises(SourceError):
            SOURCE.search(where(server, port=slow.getsockname()[1], security="none"), "x", 1)
        assert hung_up.result(PATIENT_S)


def test_a_private_address_is_refused(server: LdapServer, settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    with pytest.raises(SourceError, match="private or local address"):
        SOURCE.test(where(server), PATIENT_S)


@pytest.mark.parametrize(
    "changes", [{"filter": "objectClass=*"}, {"filter": "(a=b)(c=d)"}, {"filter": "(a=b))"}, {"password": ""}]
)
def test_settings_that_do_not_fit(server: LdapServer, changes: Any) -> None:
    with pytest.raises(Unfit):
        SOURCE.check(where(server, **changes))


@pytest.mark.fuzz
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_escaped_text_stays_text(text: str) -> None:
    escaped = _escaped(text)
    assert not set(escaped) & set("()*\x00")
    plain = bytearray()
    rest = escaped
    while rest:
        if rest[0] == "\\":
            plain.append(int(rest[1:3], 16))
            rest = rest[3:]
        else:
            plain += rest[0].encode()
            rest = rest[1:]
    assert plain.decode() == text
