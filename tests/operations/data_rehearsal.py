"""Two procedures of docs/operations.md that concern the data alone, each run for real, with figures: as root,

    python -m tests.operations.data_rehearsal [move] [moment] [--texts 20000]

`move` from SQLite to PostgreSQL; `moment` back to a moment before a mistake, from a base backup and the archived log.
PostgreSQL is set up, flushes and archives as deploy/postgresql has it; a minute or two each.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet

from tests.faults.programs import Program
from tests.faults.servers import with_services
from tests.operations.deployed import DEPLOY
from tests.operations.postgres import ARCHIVE_PROGRAM
from tests.ports import free_block
from tests.sandbox_process import ROOT, wait_for

LATER_TEXTS = 500
POPULATE = """
import sys, django
django.setup()
from tests.scale.population import populate
populate(int(sys.argv[1]))
"""
TEXTS = "INSERT INTO cpaas_message SELECT (jsonb_populate_record(m, jsonb_build_object('id', gen_random_uuid(), "
TEXTS += "'sid', gen_random_uuid()::text, 'text', %s || ' ' || n, 'created_at', now(), "
TEXTS += "'position', (SELECT max(position) FROM cpaas_message) + n))).* "
TEXTS += "FROM (SELECT id FROM cpaas_message WHERE direction = 'in' LIMIT 1) one JOIN cpaas_message m USING (id), "
TEXTS += "generate_series(1, %s) n"
COUNTS = "SELECT split_part(text, ' ', 1), count(*) FROM cpaas_message WHERE text LIKE ANY('{before %%,after %%}') "
COUNTS += "GROUP BY 1"


def say(title: str, figures: Any = "") -> None:
    print(f"{time.strftime('%H:%M:%S')} {title}: {figures}", flush=True)


class Cluster:
    """A PostgreSQL of its own by the files of deploy/postgresql, but for its address, size, the archive's place and how
    soon a log goes there by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.archive = folder, folder / "data", folder / "archive"
        self.port = free_block()
        self.url = f"postgres://portal@127.0.0.1:{self.port}/portal"
        self._services = with_services()
        shutil.chown(folder, "postgres", "postgres")
        self.run("mkdir", "-m", "0700", self.archive, self.archive / "wal", self.archive / "base")
        self.archiver = shutil.copy(DEPLOY / "bin" / "portal-archive", folder)
        self.run(
            self.program("initdb"), "-D", self.data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"
        )
        files = [(DEPLOY / "postgresql" / name).read_text() for name in ("portal.conf", "archive.conf")]
        settings = "".join(files).replace(ARCHIVE_PROGRAM, str(self.archiver))
        here = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        here |= {"shared_buffers": "128MB", "effective_cache_size": "512MB", "archive_timeout": "20s"}
        settings += "".join(f"\n{name} = '{value}'" for name, value in here.items())
        with open(self.data / "postgresql.conf", "a") as main:
            main.write(f"{settings}\n")
        self.server = self._server()
        self.start()
        self.run(self.program("psql"), "-Xqf", DEPLOY / "postgresql" / "roles.sql", "postgres")

    def _server(self) -> Program:
        command = [str(self.program("postgres")), "-D", str(self.data)]
        as_postgres: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}
        return Program("postgres", command, self.environment, self.folder / "log", **as_postgres)

    @property
    def environment(self) -> dict[str, str]:
        here = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres"}
        return os.environ | here | {"PORTAL_DATABASE_PASSWORD": "rehearsal", "PORTAL_ARCHIVE": str(self.archive)}

    def program(self, name: str) -> Any:
        return self._services.postgres_program(name)

    def run(self, *order: Any) -> str:
        """As the user PostgreSQL runs as."""
        command = [str(word) for word in order]
        as_postgres: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=self.environment, **as_postgres)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def start(self) -> None:
        self.server.start()
        wait_for(self.takes_writes, 120, "PostgreSQL")

    def takes_writes(self) -> bool:
        try:
            return self.ask("SELECT NOT pg_is_in_recovery()", database="postgres") == [(True,)]
        except psycopg.OperationalError:
            return False

    def ask(self, query: str, *values: Any, database: str = "portal") -> list[Any]:
        address = f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"
        with psycopg.connect(address, autocommit=True) as connection:
            done = connection.execute(query, values)  # type: ignore[call-overload]
            return done.fetchall() if done.description else []


class Portal:
    """manage.py with the keys of one installation, on whichever database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PORTAL_VAR_DIR": str(folder),
            "PORTAL_SINGLE_HOST": "1",
            "SECRET_KEY": "the long random text of this rehearsal, which nobody uses again",
            "PORTAL_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "LOG_LEVEL": "WARNING",
        }

    def run(self, database_url: str, *order: str) -> str:
        environment = self._environment | {"DATABASE_URL": database_url}
        done = subprocess.run(
            [sys.executable, *order], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(self, database_url: str, *arguments: str) -> str:
        return self.run(database_url, "manage.py", *arguments)

    def fill(self, cluster: Cluster, texts: int) -> None:
        self.manage(cluster.url, "migrate", "--verbosity", "0")
        # As the superuser, who may leave foreign keys unchecked meanwhile.
        self.run(cluster.url.replace("portal@", "postgres@"), "-c", POPULATE, str(texts))
        say("filled", rows_of(cluster))


def rows_of(cluster: Cluster) -> dict[str, int]:
    tables = cluster.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    counts = {table: cluster.ask(f'SELECT count(*) FROM "{table}"')[0][0] for (table,) in tables}
    return {table: count for table, count in counts.items() if count and not table.startswith(("django_", "auth_"))}


def move(folder: Path, texts: int) -> None:
    """An installation on SQLite, filled from a PostgreSQL, moves to a new PostgreSQL."""
    portal = Portal(folder / "var")
    origin, target = Cluster(folder / "origin"), Cluster(folder / "target")
    portal.fill(origin, texts)
    sqlite = f"sqlite:///{portal.folder}/portal.sqlite3"
    portal.manage(sqlite, "migrate", "--verbosity", "0")
    portal.manage(sqlite, "copydatabase", origin.url)
    say("the SQLite file", f"{(portal.folder / 'portal.sqlite3').stat().st_size:,} bytes")
    began = time.monotonic()
    portal.manage(target.url, "migrate", "--verbosity", "0")
    say("migrate", f"{time.monotonic() - began:.1f} s")
    began = time.monotonic()
    printed = portal.manage(target.url, "copydatabase", sqlite)
    say("copydatabase", f"{time.monotonic() - began:.1f} s")
    print(printed)
    told = {table: int(count) for table, count in re.findall(r"^(\w+): (\d+) rows$", printed, re.MULTILINE)}
    assert all(told[table] == count for table, count in rows_of(target).items())
    assert rows_of(target) == rows_of(origin)
    say("rows", f"{sum(told.values()):,} in {len(told)} tables, the same as before the file was made")
    say("check", portal.manage(target.url, "check", "--database", "default").strip())


def moment(folder: Path, texts: int) -> None:
    """Texts, a moment, a mistake and more texts; the cluster is lost with its data; back to the moment."""
    portal, cluster = Portal(folder / "var"), Cluster(folder / "cluster")
    portal.fill(cluster, texts)
    began = time.monotonic()
    base = Path(cluster.run(cluster.archiver, "base"))
    say("portal-archive base", f"{time.monotonic() - began:.1f} s, {size_of(base):,} bytes")
    cluster.ask(TEXTS, "before", LATER_TEXTS)
    time.sleep(1)
    [(at,)] = cluster.ask("SELECT now()")
    time.sleep(1)
    cluster.ask("UPDATE cpaas_message SET text = ''")
    cluster.ask(TEXTS, "after", LATER_TEXTS)
    [(needed,)] = cluster.ask("SELECT pg_walfile_name(pg_current_wal_lsn())")
    began = time.monotonic()
    logs = cluster.archive / "wal"
    wait_for(lambda: (logs / f"{needed}.gz").exists(), 180, "the archive")
    figures = f"{time.monotonic() - began:.0f} s, {len(list(logs.iterdir()))} logs of 16 MB in {size_of(logs):,} bytes"
    say("until the log was archived by itself", figures)

    cluster.server.kill()
    shutil.rmtree(cluster.data)
    began = time.monotonic()
    cluster.run("cp", "-a", base, cluster.data)
    with open(cluster.data / "postgresql.conf", "a") as main:
        main.write(f"restore_command = '{cluster.archiver} fetch %f %p'\n")
        main.write(f"recovery_target_time = '{at.isoformat()}'\nrecovery_target_action = 'promote'\n")
    cluster.run("touch", cluster.data / "recovery.signal")
    cluster.start()
    say("from an empty folder to a database that takes writes", f"{time.monotonic() - began:.1f} s")
    began = time.monotonic()
    print(portal.manage(cluster.url, "afterrestore"))
    say("afterrestore", f"{time.monotonic() - began:.1f} s")
    found = dict(cluster.ask(COUNTS))
    [(emptied,)] = cluster.ask("SELECT count(*) FROM cpaas_message WHERE text = ''")
    say("texts of the last minutes", {**found, "emptied by mistake": emptied})
    assert (found, emptied) == ({"before": LATER_TEXTS}, 0)
    say("rows", rows_of(cluster))
    say("check", portal.manage(cluster.url, "check", "--database", "default").strip())


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


PROCEDURES = {"move": move, "moment": moment}


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("procedures", nargs="*", choices=[*PROCEDURES, []], default=[])
    parser.add_argument("--texts", type=int, default=20_000)
    wanted = parser.parse_args()
    for name in wanted.procedures or PROCEDURES:
        with tempfile.TemporaryDirectory(prefix="portal-rehearsal-") as made:
            folder = Path(made)
            folder.chmod(0o755)
            for part in ("var", "origin", "target", "cluster"):
                (folder / part).mkdir()
            say(f"== {name}", f"load {os.getloadavg()[0]:.1f}")
            PROCEDURES[name](folder, wanted.texts)


if __name__ == "__main__":
    main()
