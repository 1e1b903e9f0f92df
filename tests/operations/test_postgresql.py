"""The files of deploy/postgresql do what their comments say, in a real PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from portal.asgi import WEB_THREADS
from portal.events.hub import READERS
from portal.residents.database import THREADS as RESIDENT_THREADS
from tests.operations.deployed import DEPLOY, unit
from tests.operations.postgres import Postgres, deployed_postgres
from tests.sandbox_process import wait_for

MARKER = "a text that nobody may find in a log"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with deployed_postgres("portal.conf", "archive.conf") as started:
        yield started


def test_no_value_of_a_statement_is_in_the_log(postgres: Postgres) -> None:
    """Slow ones, failing ones, ones that wait for a lock too long: Django puts the values into their text."""
    with postgres.connect() as one, postgres.connect() as other:
        one.execute("CREATE EXTENSION pg_stat_statements")
        one.execute("CREATE TABLE secrets (secret text CONSTRAINT only_once UNIQUE CHECK (secret <> 'never'))")
        one.execute("INSERT INTO secrets VALUES (%s)", [MARKER])
        with pytest.raises(psycopg.errors.UniqueViolation) as refused:
            one.execute("INSERT INTO secrets VALUES (%s)", [MARKER])
        assert MARKER in str(refused.value)
        with pytest.raises(psycopg.errors.UndefinedColumn):
            one.execute("SELECT nothing FROM secrets WHERE secret = %s", [MARKER])
        one.execute("SELECT pg_sleep(0.6), secret FROM secrets WHERE secret = %s", [MARKER])
        with pytest.raises(psycopg.errors.UndefinedObject):
            one.execute("ALTER ROLE nobody PASSWORD %s", [MARKER])
        with other.transaction():
            other.execute("LOCK secrets")
            one.execute("SET lock_timeout = '10ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                one.execute("UPDATE secrets SET secret = %s", [f"{MARKER} too"])
        seen = one.execute("SELECT query FROM pg_stat_statements WHERE query LIKE '%pg_sleep%'").fetchall()
        stored = one.execute("SELECT count(*) FROM pg_stat_statements WHERE query LIKE %s", [f"%{MARKER}%"]).fetchone()
    # One line an error, with the names that tell which it was; and the slow one is found without its value.
    assert 'ERROR:  duplicate key value violates unique constraint "only_once"' in postgres.log
    assert MARKER not in postgres.log
    assert ("SELECT pg_sleep($1), secret FROM secrets WHERE secret = $2",) in seen
    assert stored == (0,)


def test_three_machines_have_the_connections_they_may_take() -> None:
    def number(pattern: str, text: str) -> int:
        [found] = re.findall(pattern, text)
        return int(found)

    web = number(r"--blocking-threads (\d+)", unit("portal-web@.service"))
    tasks = number(r" -c (\d+) -n tasks", unit("portal-tasks.service"))
    limit = number(r"CONNECTION LIMIT (\d+)", (DEPLOY / "postgresql" / "roles.sql").read_text())
    settings = (DEPLOY / "postgresql" / "portal.conf").read_text()
    machine = number(r"= (\d+) connections", settings)
    assert machine >= 2 * web + WEB_THREADS + READERS + tasks + RESIDENT_THREADS
    assert 3 * machine < limit < number(r"\nmax_connections = (\d+)", settings)


def test_a_log_is_archived_once_and_comes_back_as_it_was(postgres: Postgres, tmp_path: Path) -> None:
    log, other = postgres.folder / "log-file", postgres.folder / "other-file"
    log.write_bytes(b"log" * 1000)
    other.write_bytes(b"other" * 1000)
    assert postgres.run(postgres.program, "store", log, "A").returncode == 0
    # After a crash it is brought again; another cluster's is refused.
    assert postgres.run(postgres.program, "store", log, "A").returncode == 0
    assert postgres.run(postgres.program, "store", other, "A").returncode == 1
    back = postgres.archive / "back"
    assert postgres.run(postgres.program, "fetch", "A", back).returncode == 0
    assert back.read_bytes() == log.read_bytes()
    assert postgres.run(postgres.program, "fetch", "B", back).returncode == 1


def test_the_archive_keeps_the_last_two_base_backups_and_what_they_need(postgres: Postgres) -> None:
    def archived() -> list[str]:
        names = [path.name for path in (postgres.archive / "wal").iterdir()]
        return sorted(name for name in names if re.fullmatch(r"[0-9A-F]{24}\.gz", name))

    bases, needed = [], []
    with postgres.connect() as connection:
        for _ in range(3):
            [(current,)] = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchall()
            wait_for(lambda current=current: f"{current}.gz" in archived(), what="the archive")
            done = postgres.run(postgres.program, "base")
            assert done.returncode == 0, done.stderr
            bases.append(Path(done.stdout.strip()))
            needed.append(re.findall(r"\(file (\w+)\)", (bases[-1] / "backup_label").read_text())[0])
        assert connection.execute("SELECT failed_count FROM pg_stat_archiver").fetchone() == (0,)
    assert sorted((postgres.archive / "base").iterdir()) == bases[1:]
    assert archived()[0] == f"{needed[1]}.gz"
