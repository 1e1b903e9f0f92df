"""SQL directories, against the PostgreSQL of the tests (S1.35). SQL Server is only tried up to its door."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from hypothesis import given
from hypothesis import strategies as st

from portal.directory.entries import Dialled
from portal.directory.sources import SourceError, Where
from portal.directory.sources.base import read_details
from portal.directory.sources.sql import Sql, bound, check_query
from portal.directory.tests.slow_server import drip

SOURCE = Sql()
PATIENT_S = 30
SEARCH = "SELECT id AS key, name, company, mobile, work FROM {table} WHERE name ILIKE {{like}} OR company = {{q}}"
NUMBER = (
    "SELECT name, mobile, work FROM {table} WHERE regexp_replace(mobile, '\\D', '', 'g') IN ({{digits}}, {{national}})"
)
ROWS = [
    (1, "Grace Hopper", "Navy", "(202) 555-0131", None),
    (2, "100% Cotton_Ltd", "Cloth", None, "+12025550132"),
    (3, "O'Brien; DROP TABLE", "x", "soon", None),
]


@pytest.fixture(scope="module")
def table() -> Iterator[str]:
    """A table that everybody may read, in a database of its own kind of the tests' server."""
    name = f"directory_contacts_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(**_server(), autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {name} (id int, name text, company text, mobile text, work text)")
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {name} VALUES (%s, %s, %s, %s, %s)", ROWS)
        yield name
        connection.execute(f"DROP TABLE {name}")


def _server() -> dict[str, Any]:
    database = django_settings.DATABASES["default"]
    return {"host": database["HOST"], "port": database["PORT"], "user": database["USER"], "dbname": "portal"}


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True


def where(table: str, **changes: Any) -> Where:
    server = _server()
    usual = {
        "engine": "postgresql",
        "host": server["host"],
        "port": int(server["port"]),
        "security": "none",
        "database": server["dbname"],
        "username": server["user"],
        "search_query": SEARCH.format(table=table),
        "number_query": NUMBER.format(table=table),
    }
    return Where({**usual, **changes}, {"password": "sql-reader-password-42"}, "US")


def search(place: Where, text: str) -> list[str]:
    return [details.name for details in SOURCE.search(place, text, PATIENT_S)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("grace", "Grace Hopper"), ("Navy", "Grace Hopper"), ("100%", "100% Cotton_Ltd"), ("n_l", "100% Cotton_Ltd"),
     ("'brien; drop", "O'Brien; DROP TABLE")],
)  # fmt: skip
def test_s1_35_found_by_what_was_typed(table: str, text: str, expected: str) -> None:
    assert search(where(table), text) == [expected]


@pytest.mark.parametrize("text", ["' OR '1'='1", "%", "_", "\\", "%(q)s", "{q}", "'; DROP TABLE x; --"])
def test_what_is_typed_is_never_part_of_the_query(table: str, text: str) -> None:
    found = search(where(table), text)
    assert found in ([], ["100% Cotton_Ltd"])
    assert len(search(where(table), "")) == 3


def test_found_by_a_number(table: str) -> None:
    [found] = SOURCE.with_number(where(table), "+12025550131", PATIENT_S)
    assert (found.name, found.numbers) == ("Grace Hopper", (Dialled("+12025550131", "mobile"),))
    assert SOURCE.with_number(where(table), "+12025550139", PATIENT_S) == []


def test_the_button_tries_both_queries(table: str) -> None:
    assert len(SOURCE.test(where(table), PATIENT_S)) == 3
    with pytest.raises(SourceError, match="The query failed"):
        SOURCE.test(where(table, number_query="SELECT name FROM nowhere WHERE x = {number}"), PATIENT_S)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"search_query": "WITH gone AS (DELETE FROM {table} RETURNING *) SELECT * FROM gone WHERE name={{q}}"},
      "must not contain data-modifying statements"),
     ({"search_query": "SELECT name FROM {table} WHERE name <> {{q}} FOR UPDATE"}, "read-only transaction"),
     ({"search_query": "SELECT name, pg_sleep(60) FROM {table} WHERE {{q}} = {{q}}"},
      "did not answer in time"),
     ({"search_query": "SELECT mobile FROM {table} WHERE name = {{q}}"}, "no column called name"),
     ({"database": "nowhere"}, "nowhere"), ({"port": 9}, "refused"), ({"security": "tls"}, "SSL"),
     ({"host": "nowhere.invalid"}, "was not found")],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(table: str, changes: Any, sentence: str) -> None:
    changes = {
        name: str(value).format(table=table) if name == "search_query" else value for name, value in changes.items()
    }
    timeout_s = 1 if "pg_sleep" in str(changes) else PATIENT_S
    with pytest.raises(SourceError, match=sentence) as raised:
        SOURCE.search(where(table, **changes), "x", timeout_s)
    assert "sql-reader-password" not in str(raised.value)
    assert len(search(where(table), "")) == 3


def test_a_private_address_is_refused(table: str, settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    with pytest.raises(SourceError, match="private or local address"):
        search(where(table), "x")


@pytest.mark.parametrize("security", ["tls", "none"])
def test_a_sql_server_that_never_answers(table: str, security: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = where(table, engine="sqlserver", port=silent.getsockname()[1], security=security)
        with pytest.raises(SourceError):
            SOURCE.search(place, "x", 0.5)


def test_a_postgresql_server_that_takes_the_connection_and_then_says_nothing(table: str) -> None:
    """The driver would wait as long as the server likes, and the thread with it."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        hung_up = pool.submit(_say_nothing, server)
        with pytest.raises(SourceError, match="did not answer in time"):
            SOURCE.search(where(table, port=server.getsockname()[1]), "x", 0.5)
        assert hung_up.result(PATIENT_S)


def _greeted(server: socket.socket, answer: bytes) -> socket.socket:
    """Let one client of PostgreSQL in and answer what it says first."""
    client = server.accept()[0]
    client.settimeout(PATIENT_S)
    client.recv(8)  # whether there is TLS
    client.sendall(b"N")
    client.recv(1000)
    client.sendall(answer)
    return client


def _say_nothing(server: socket.socket) -> bool:
    """Let one client in, and then wait for it to hang up; whether it did."""
    with _greeted(server, b"R\x00\x00\x00\x08\x00\x00\x00\x00" + b"Z\x00\x00\x00\x05I") as client:
        try:
            while client.recv(1000):
                pass
        except TimeoutError:
            return False
        return True


def test_a_stranger_gets_no_password_of_our_own(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one in its settings, the driver would take that of our environment."""
    monkeypatch.setenv("PGPASSWORD", "password-of-the-portal")
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        given = pool.submit(_ask_for_password, server)
        place = where(table, port=server.getsockname()[1])
        with pytest.raises(SourceError):
            SOURCE.search(Where(place.settings, {}, "US"), "x", 5)
        assert b"password-of-the-portal" not in given.result(PATIENT_S)


def _ask_for_password(server: socket.socket) -> bytes:
    """Let one client in, ask for its password in plain text, and return what it says."""
    with _greeted(server, b"R\x00\x00\x00\x08\x00\x00\x00\x03") as client:
        return client.recv(1000)


def test_a_sql_server_leads_nobody_into_our_own_network(table: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
        ThreadPoolExecutor() as pool,
    ):
        elsewhere.settimeout(0)
        answered = pool.submit(_send_on, server, elsewhere.getsockname()[1])
        place = where(table, engine="sqlserver", port=server.getsockname()[1])
        with pytest.raises(SourceError, match="sends us on to localhost, port"):
            SOURCE.search(place, "x", 5)
        answered.result(PATIENT_S)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def _send_on(server: socket.socket, port: int) -> None:
    """Let one client of SQL Server log in, and send it on to that port of ours (MS-TDS 2.2.7.9, type 20)."""
    with server.accept()[0] as client:
        client.settimeout(PATIENT_S)
        client.recv(4096)
        client.sendall(_reply(b"\x01\x00\x06\x00\x01\xff\x02"))  # no encryption
        client.recv(4096)
        name = "localhost"
        where_to = b"\x00" + port.to_bytes(2, "little") + len(name).to_bytes(2, "little") + name.encode("utf-16-le")
        route = b"\x14" + len(where_to).to_bytes(2, "little") + where_to + b"\x00\x00"
        taken = b"\x01" + b"\x74\x00\x00\x04" + b"\x00" + bytes(4)
        tokens = b"\xad" + len(taken).to_bytes(2, "little") + taken
        tokens += b"\xe3" + len(route).to_bytes(2, "little") + route
        client.sendall(_reply(tokens + b"\xfd" + bytes(12)))


def _reply(content: bytes) -> bytes:
    return b"\x04\x01" + (len(content) + 8).to_bytes(2, "big") + b"\x00\x00\x01\x00" + content


def test_what_no_database_stores_is_left_out_of_what_a_server_says() -> None:
    """One name with a NUL in it would fail the look-ups of all tenants, one such error every search of its own."""
    found = read_details({"name": "Grace\0 Hopper\ud800", "company": "\x1bNavy"}, [], country="US")
    assert found is not None
    assert (found.name, found.company) == ("Grace  Hopper", "Navy")
    assert str(SourceError("No\0 such table")) == "No  such table"


def test_a_sql_server_that_says_a_byte_now_and_then(table: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        hung_up = pool.submit(drip, server, _reply(bytes(200))[:8])
        with pytest.raises(SourceError):
            SOURCE.search(where(table, engine="sqlserver", port=server.getsockname()[1]), "x", 1)
        assert hung_up.result(PATIENT_S)


def test_of_a_long_answer_only_the_start_is_read(table: str) -> None:
    """All of it would not fit into this process; the server has no time to send it either."""
    endless = "SELECT repeat('x', 1000) AS name, generate_series(1, 1000000000) WHERE {q} = {q}"
    assert len(SOURCE.search(where(table, search_query=endless), "x", 5)) == 50


@pytest.mark.parametrize(
    "query",
    ["", "DELETE FROM x WHERE y = {q}", "SELECT 1; SELECT {q}", "SELECT 1", "SELECT {q}, {number}", "SELECT {}"],
)
def test_a_query_is_one_select_with_its_places(query: str) -> None:
    with pytest.raises(ValueError):
        check_query(query, {"q", "like"})


def test_places_become_parameters() -> None:
    assert bound("SELECT name FROM t WHERE a LIKE '%x%' AND b = {q};") == (
        "SELECT name FROM t WHERE a LIKE '%%x%%' AND b = %(q)s"
    )


@pytest.mark.fuzz
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30))
def test_any_text_finds_only_names_that_hold_it(table: str, settings: Any, text: str) -> None:
    for name in search(where(table), text):
        company = next(row[2] for row in ROWS if row[1] == name)
        assert text.lower() in name.lower() or text == company
