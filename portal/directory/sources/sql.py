"""SQL databases, read only: PostgreSQL and SQL Server. The administrator writes the queries; what is searched for is
bound to them as parameters and never becomes part of their text."""

from __future__ import annotations

import re
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

from portal.directory.entries import Details
from portal.directory.models import NumberType
from portal.directory.sources.base import (
    MOST,
    Setting,
    Source,
    SourceError,
    Unfit,
    Where,
    ended_after,
    has_number,
    public_address,
    read_details,
)
from portal.phone_numbers import national_digits

_PORTS = {"postgresql": 5432, "sqlserver": 1433}
_PLACES = frozenset({"q", "like", "number", "digits", "national"})
_PLACE = re.compile(r"\{(\w*)\}")
_READS = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
_PLAIN = ("key", "kind", "name", "company", "sip_uri", "url")
_TYPED = {type.value: type.value for type in NumberType}
Values = Mapping[str, str]


class Sql(Source):
    settings = (
        Setting(
            "engine",
            "Database",
            "postgresql",
            choices=(("postgresql", "PostgreSQL"), ("sqlserver", "Microsoft SQL Server")),
        ),
        Setting("host", "Host", required=True, help_text="Name of the server, for example sql.example.com."),
        Setting("port", "Port", 0, "0: the usual one, 5432 or 1433."),
        Setting(
            "security",
            "Security",
            "tls",
            choices=(("tls", "TLS, certificate checked"), ("none", "None, in plain text")),
        ),
        Setting("ca_certificate", "CA certificate", long=True, help_text="PEM. Empty: the public authorities."),
        Setting("database", "Database name", required=True),
        Setting("username", "User name", required=True, help_text="A user who may only read."),
        Setting("password", "Password", secret=True),
        Setting(
            "search_query",
            "Query for a name",
            required=True,
            long=True,
            help_text="One SELECT with the columns name, and of key, company, kind, mobile, work, home, extension, "
            "other, sip_uri, url those there are. {q} is what was typed, {like} the same between percent signs. "
            "Example: SELECT name, mobile FROM contacts WHERE name ILIKE {like}",
        ),
        Setting(
            "number_query",
            "Query for a number",
            required=True,
            long=True,
            help_text="The same for a number: {number} is +12025550123, {digits} 12025550123, {national} 2025550123.",
        ),
    )

    def check(self, where: Where) -> None:
        for name, places in (("search_query", {"q", "like"}), ("number_query", {"number", "digits", "national"})):
            try:
                check_query(where.text(name), places)
            except ValueError as error:
                raise Unfit(name, str(error)) from error

    def search(self, where: Where, text: str, timeout_s: float) -> list[Details]:
        like = f"%{_literal(text, where.text('engine'))}%"
        return self._find(where, "search_query", {"q": text, "like": like}, timeout_s)

    def with_number(self, where: Where, number: str, timeout_s: float) -> list[Details]:
        values = {"number": number, "digits": number.removeprefix("+"), "national": national_digits(number)}
        found = self._find(where, "number_query", values, timeout_s)
        return [details for details in found if has_number(details, number)]

    def test(self, where: Where, timeout_s: float) -> list[Details]:
        """Runs both queries."""
        self.with_number(where, "+12025550123", timeout_s)
        return self._find(where, "search_query", {"q": "", "like": "%"}, timeout_s)

    def _find(self, where: Where, query: str, values: Values, timeout_s: float) -> list[Details]:
        statement = bound(where.text(query))
        read = _sql_server if where.text("engine") == "sqlserver" else _postgresql
        with read(where, timeout_s) as cursor:
            cursor.execute(statement, dict(values))
            columns = [str(column[0]).lower() for column in cursor.description or ()]
            rows = cursor.fetchmany(MOST)
        if "name" not in columns:
            raise SourceError("The query has no column called name.")
        found = (_details(columns, row, where.country) for row in rows)
        return [details for details in found if details is not None]


def check_query(query: str, places: set[str]) -> None:
    """Raises ValueError with a sentence when `query` is not one SELECT with these places in it."""
    used = set(_PLACE.findall(query))
    if not _READS.match(query):
        raise ValueError("A query must begin with SELECT or WITH.")
    if ";" in query.rstrip().rstrip(";"):
        raise ValueError("Give one query, without ; in it.")
    if not used & places:
        wanted = " or ".join(f"{{{place}}}" for place in sorted(places))
        raise ValueError(f"The query must say where the text goes: {wanted}.")
    if unknown := used - places:
        raise ValueError(f"There is no place called {', '.join(f'{{{place}}}' for place in sorted(unknown))} here.")


def bound(query: str) -> str:
    """`query` with its places as parameters of the driver; every other % stands for itself."""
    parts = _PLACE.split(query.strip().rstrip(";"))
    return "".join(f"%({part})s" if n % 2 else part.replace("%", "%%") for n, part in enumerate(parts))


@contextmanager
def _postgresql(where: Where, timeout_s: float) -> Iterator[Any]:
    """A cursor in a transaction that can only read. It stays at the server: of a long answer only the start is sent."""
    import psycopg

    port = int(where.settings.get("port") or 0) or _PORTS["postgresql"]
    address = public_address(where.host, port)
    with _ca_file(where) as ca_file:
        try:
            connection = psycopg.connect(
                host=where.host,
                hostaddr=address,
                port=port,
                dbname=where.text("database"),
                user=where.text("username"),
                # Nothing of our own for a stranger: not the password of our environment, of our files, or our ticket.
                password=where.secrets.get("password", ""),
                passfile="/dev/null/none",
                gssencmode="disable",
                sslmode="verify-full" if where.text("security") == "tls" else "prefer",
                sslrootcert=ca_file or "system" if where.text("security") == "tls" else None,
                connect_timeout=max(2, round(timeout_s)),
                options=f"-c default_transaction_read_only=on -c statement_timeout={round(timeout_s * 1000)}",
                application_name="partner-portal",
            )
        except psycopg.OperationalError as error:
            raise SourceError(_first_line(error, where)) from error
        with closing(connection), ended_after(timeout_s, connection.fileno()):
            try:
                with connection.cursor("contacts") as cursor:
                    yield cursor
            except psycopg.errors.QueryCanceled as error:
                raise SourceError(f"{where.host} did not answer in time.") from error
            except psycopg.Error as error:
                if connection.broken:
                    raise SourceError(f"{where.host} did not answer in time, or hung up.") from error
                raise SourceError(f"The query failed: {_first_line(error, where)}") from error


@contextmanager
def _sql_server(where: Where, timeout_s: float) -> Iterator[Any]:
    """A cursor whose transaction is never committed. The socket is ours, so that its address was looked at."""
    port = int(where.settings.get("port") or 0) or _PORTS["sqlserver"]
    address = public_address(where.host, port)
    try:
        line = socket.create_connection((address, port), timeout_s)
    except OSError as error:
        raise SourceError(_first_line(error, where)) from error
    pytds = _driver_that_stays()
    with (
        line,
        ended_after(timeout_s, line.fileno()),
        _ca_file(where, public="/etc/ssl/certs/ca-certificates.crt") as ca_file,
    ):
        try:
            connection = pytds.connect(
                dsn=where.host,
                port=port,
                database=where.text("database"),
                user=where.text("username"),
                password=where.secrets.get("password") or "",
                timeout=timeout_s,
                login_timeout=timeout_s,
                autocommit=False,
                readonly=True,
                disable_connect_retry=True,
                cafile=ca_file if where.text("security") == "tls" else None,
                sock=line,
            )
        except (pytds.Error, OSError) as error:
            raise SourceError(_first_line(error, where)) from error
        with closing(connection):
            try:
                yield connection.cursor()
            except (pytds.TimeoutError, TimeoutError) as error:
                raise SourceError(f"{where.host} did not answer in time.") from error
            except (pytds.Error, OSError) as error:
                raise SourceError(f"The query failed: {_first_line(error, where)}") from error


@cache
def _driver_that_stays() -> Any:
    """pytds, which of itself goes on with user and password to wherever a server sends it, our own network included."""
    import pytds

    class Staying(pytds._TdsSocket):  # type: ignore[misc]
        def login(self) -> None:
            route = super().login()
            if route is not None:
                there = f"{route['server'][:100]}, port {route['port']}"
                raise SourceError(f"The server sends us on to {there}. Give that one as the host.")

    pytds._TdsSocket = Staying
    return pytds


@contextmanager
def _ca_file(where: Where, public: str | None = None) -> Iterator[str | None]:
    """The given authority as a file, which is the only way drivers take it; `public` when none is given."""
    certificate = where.text("ca_certificate")
    if not certificate:
        yield public
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate)
        file.flush()
        yield file.name


def _details(columns: Sequence[str], row: Sequence[Any], country: str) -> Details | None:
    values = {name: str(value) for name, value in zip(columns, row, strict=True) if value is not None}
    numbers = [(values[column], type) for column, type in _TYPED.items() if column in values]
    if "number" in values:
        numbers.append((values["number"], values.get("type", "")))
    return read_details({name: values[name] for name in _PLAIN if name in values}, numbers, country=country)


def _literal(text: str, engine: str) -> str:
    """`text` as LIKE takes it literally: PostgreSQL knows a backslash, SQL Server sets in brackets."""
    if engine == "sqlserver":
        return re.sub(r"([%_\[])", r"[\1]", text)
    return re.sub(r"([\\%_])", r"\\\1", text)


def _first_line(error: Exception, where: Where) -> str:
    """What the driver says, in one line and without the password."""
    text = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    password = where.secrets.get("password")
    return (text.replace(password, "••••") if password else text)[:250]
