"""What real processes put out, looked through for the secrets of their installation.

Secret are its keys, whatever its database holds encrypted (carrier credentials, webhook secrets, seeds of second
factors), and what the caller names. Tokens are known by their form.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet

from cpaas.carriers.registry import CARRIERS

TOKEN = re.compile(r"\bpp[sd]_[A-Za-z0-9_-]{20,}")
# `key id : Fernet token` (portal.encryption).
ENCRYPTED = re.compile(r"\b[0-9a-f]{8}:(gAAAA[\w-]+=*)")
# Answers that are kept to be given again, encrypted as a whole because of the tokens in some.
NOT_SECRET_AS_A_WHOLE = {"portal_idempotencykey"}
KEPT_ON_PURPOSE = {"keys", "secret_key", "demo.json"}
# Parts of a carrier's credentials that stand in the addresses of its interface and on our pages: names, not keys.
IDENTIFIERS = {field.name for adapter in CARRIERS.values() for field in adapter.credential_fields if not field.secret}
# Shorter ones are in many texts by chance.
_MIN_LENGTH = 12
_AROUND = 80
# What clients of an installation heard on its event streams and got as answers, by its address.
_streams: dict[str, list[str]] = defaultdict(list)
_answers: dict[str, list[str]] = defaultdict(list)


def hear(url: str, line: bytes) -> None:
    """A client of the installation at `url` read this line of an event stream."""
    _streams[url].append(line.decode("utf-8", "replace"))


def hear_answer(url: str, text: str) -> None:
    """A client of the installation at `url` was answered this."""
    _answers[url].append(text)


def heard_at(url: str) -> str:
    """All that was heard on event streams, for this once."""
    return "".join(_streams.pop(url, []))


def answered_at(url: str) -> str:
    """All answers, for this once."""
    return "\n".join(_answers.pop(url, []))


def keys_in(folder: Path) -> set[str]:
    """The keys that an installation has made for itself."""
    return {(folder / name).read_text().strip() for name in ("keys", "secret_key") if (folder / name).exists()}


def secrets_stored(database: str | Path, keys: Iterable[str]) -> set[str]:
    """All that is stored encrypted under one of `keys`, in whatever table: of PostgreSQL (URL) or SQLite (file)."""
    rings = [Fernet(key) for key in keys if len(key) == 44]
    found: set[str] = set()
    for row in _rows_with_secrets(database):
        for token in ENCRYPTED.findall(row):
            [plain] = [ring.decrypt(token.encode()).decode() for ring in rings]
            parts = json.loads(plain) if plain.startswith("{") else {"": plain}
            found.update(secret for name, secret in parts.items() if name not in IDENTIFIERS)
    return {secret for secret in found if len(secret) >= _MIN_LENGTH}


def _rows_with_secrets(database: str | Path) -> Iterator[str]:
    if isinstance(database, Path):
        with sqlite3.connect(database) as lite:
            named = lite.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for table in {name for (name,) in named} - NOT_SECRET_AS_A_WHOLE:
                yield from map(str, lite.execute(f'SELECT * FROM "{table}"'))
        return
    with psycopg.connect(database) as connection:
        for table in tables_of(connection) - NOT_SECRET_AS_A_WHOLE:
            query = f'SELECT t::text FROM "{table}" t WHERE t::text ~ %s'
            yield from (row for (row,) in connection.execute(query, [r"\m[0-9a-f]{8}:gAAAA"]).fetchall())


def tables_of(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in rows}


def leaks_in(put_out: Mapping[str, str], secrets: Iterable[str], *, tokens: bool = True) -> set[str]:
    """Which of the texts holds a secret, or any token, and what stands around it."""
    found = set()
    for name, text in put_out.items():
        hits = [secret for secret in secrets if secret in text]
        hits += TOKEN.findall(text) if tokens else []
        for hit in hits:
            at = text.index(hit)
            around = text[max(at - _AROUND, 0) : at + len(hit) + _AROUND].replace(hit, "<the secret>")
            found.add(f"{name}: {around!r}")
    return found


def look_through_files(folder: Path, secrets: Iterable[str]) -> set[str]:
    """Files of a stopped stack (broker, spool, database, logs) that hold one of the secrets or any token."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in KEPT_ON_PURPOSE and path.stat().st_size < 50_000_000:
            text = path.read_bytes().decode("latin-1")
            if TOKEN.search(text) or any(secret in text for secret in secrets):
                found.add(str(path.relative_to(folder)))
    return found


def look_through_tables(database_url: str, secrets: Iterable[str]) -> set[str]:
    """Tables of a PostgreSQL database that hold one of the secrets or any token in plain, in whatever column."""
    found = set()
    patterns = [f"%{secret}%" for secret in secrets]
    with psycopg.connect(database_url) as connection:
        for table in tables_of(connection):
            query = f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE ANY(%s) OR t::text ~ %s'
            [count] = connection.execute(query, [patterns, TOKEN.pattern.replace(r"\b", r"\m")]).fetchone() or [0]
            if count:
                found.add(table)
    return found
