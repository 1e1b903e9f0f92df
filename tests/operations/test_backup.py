"""portal-backup and portal-restore: what comes back, and what other users of the machine see of the password."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from portal.tests.factories import EndUserFactory
from portal.tests.residents import database_url_of_test
from tests.operations.deployed import DEPLOY
from tests.sandbox_process import ROOT
from tests.stack_process import own_database

PASSWORD = "p/a w'o@r:d%20"
# In front of a client of PostgreSQL: what anybody can read of every process, while it runs.
WATCH = """#!/bin/sh
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0\\n' '  ' >>"$SEEN"
echo >>"$SEEN"
exec {program} "$@"
"""


def with_password(url: str) -> str:
    parts = urlsplit(url)
    place = f"{parts.username}:{quote(PASSWORD, safe='')}@{parts.hostname}:{parts.port}"
    return parts._replace(netloc=place).geturl()


def run(order: list[str | Path], url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DATABASE_URL": url, "PORTAL_PYTHON": sys.executable} | settings
    return subprocess.run(order, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("db.example:5433/name?sslmode=require", ("db.example", "5433", "require")),
        ("%2Fvar%2Frun/name", ("/var/run", None, None)),
        ("[::1]/name", ("::1", None, None)),
    ],
)
def test_clients_get_what_the_url_says(rest: str, expected: tuple[str | None, ...]) -> None:
    order = f'eval "$({DEPLOY}/bin/portal-database-environment)"; env -0'
    done = run(["bash", "-ec", order], f"postgres://portal:{quote(PASSWORD, safe='')}@{rest}")
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    assert (found["PGUSER"], found["PGPASSWORD"], found["PGDATABASE"]) == ("portal", PASSWORD, "name")
    assert tuple(found.get(name) for name in ("PGHOST", "PGPORT", "PGSSLMODE")) == expected


@pytest.mark.parametrize(
    "url", ["postgres://portal:sec/ret@db/name", "postgres://db/name?secret=1", "sqlite:///secret"]
)
def test_another_url_is_refused_and_not_printed(url: str, tmp_path: Path) -> None:
    done = run([DEPLOY / "bin" / "portal-backup", tmp_path], url)
    assert done.returncode == 1
    assert "DATABASE_URL is no postgres://" in done.stderr
    assert "sec" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_a_backup_comes_back_and_nobody_sees_the_password(tmp_path: Path) -> None:
    user, programs, seen = EndUserFactory(), tmp_path / "bin", tmp_path / "seen"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (programs / name).write_text(WATCH.format(program=shutil.which(name)))
        (programs / name).chmod(0o755)
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "picture").write_bytes(b"of a message")
    settings = {"PATH": f"{programs}:{os.environ['PATH']}", "SEEN": str(seen), "DEBUG": "1"}
    settings |= {"PORTAL_VAR_DIR": str(tmp_path), "MEDIA_ROOT": str(tmp_path / "media")}
    backup = run(
        [DEPLOY / "bin" / "portal-backup", tmp_path / "backups"], with_password(database_url_of_test()), **settings
    )
    assert backup.returncode == 0, backup.stderr
    settings["MEDIA_ROOT"] = str(tmp_path / "restored")
    with own_database() as empty:
        assert empty
        order: list[str | Path] = [DEPLOY / "bin" / "portal-restore", backup.stdout.strip()]
        restore = run(order, with_password(empty), **settings)
        assert restore.returncode == 0, restore.stderr
        with psycopg.connect(empty) as connection:
            assert connection.execute("SELECT id FROM portal_enduser").fetchall() == [(user.pk,)]
        again = run(order, with_password(empty), **settings)
        assert (again.returncode, again.stderr) == (1, "portal-restore: the database is not empty\n")
    assert (tmp_path / "restored" / "picture").read_bytes() == b"of a message"
    lines = seen.read_text(errors="replace").strip().split("\n")
    # Each client saw itself, and nothing of the password in any form.
    assert len(lines) == 5
    assert all("portal-backup" in line or "portal-restore" in line for line in lines)
    assert not any(form in line for line in lines for form in (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD)))
