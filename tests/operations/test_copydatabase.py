"""From SQLite to PostgreSQL: every row, and what comes after gets new ids."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg

from tests.sandbox_process import ROOT
from tests.stack_process import own_database


def manage(folder: Path, database_url: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """manage.py on a database of its own; without a URL on SQLite in `folder`."""
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    environment |= {"DEBUG": "1", "PORTAL_VAR_DIR": str(folder), "PORTAL_BOOTSTRAP_PASSWORD": "correct horse battery"}
    environment |= {"DATABASE_URL": database_url} if database_url else {}
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def run(folder: Path, database_url: str | None, *arguments: str) -> str:
    done = manage(folder, database_url, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_small_installation_moves_to_postgresql(tmp_path: Path) -> None:
    run(tmp_path, None, "migrate", "--verbosity", "0")
    run(tmp_path, None, "loaddemo")
    source = f"sqlite:///{tmp_path}/portal.sqlite3"
    with own_database() as target:
        assert target
        run(tmp_path, target, "migrate", "--verbosity", "0")
        printed = run(tmp_path, target, "copydatabase", source)
        counts = {table: int(count) for table, count in re.findall(r"^(\w+): (\d+) rows$", printed, re.MULTILINE)}
        assert counts["cpaas_message"] > 0
        assert counts["portal_event"] > 0
        with psycopg.connect(target) as connection:
            for table, count in counts.items():
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)
        # Secrets can be read, ids that the database draws go on, and nothing is copied over what is there.
        run(tmp_path, target, "check", "--database", "default")
        run(tmp_path, target, "bootstrap", "--username", "after", "--email", "after@mail.example")
        again = manage(tmp_path, target, "copydatabase", source)
        assert again.returncode != 0
        assert "has rows already" in again.stderr
