"""The whole portal as separate processes on servers and disks of its own, every one of which a test may kill.

Two machines' worth of residents stand beside one web server with two workers and one task worker, all configured as in
production: DEBUG off, PostgreSQL that flushes, Redis that keeps nothing. Nobody restarts what was killed but the test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import requests
from cryptography.fernet import Fernet
from psycopg.rows import dict_row

from tests.faults.disks import Disk, mounted, unmount_leftovers
from tests.faults.programs import Program
from tests.faults.servers import Postgres, Redis
from tests.ports import free_block
from tests.process_secrets import (
    answered_at,
    heard_at,
    leaks_in,
    look_through_files,
    look_through_tables,
    secrets_stored,
)
from tests.sandbox_process import ROOT, wait_for
from tests.stack_process import own_broker

LEASE_S = 3.0
# When a text of unknown fate is looked up, in seconds after its send; minutes to hours in production.
RECHECK_S = "2,4,8,12,20,30,45,60,90"
CELERY = ["-m", "celery", "-q", "-A", "portal.celery", "worker", "-P", "threads", "-l", "INFO"]
CELERY += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
TASK_THREADS = 4
PATIENCE_S = 240


class Stage:
    """Everything runs after `start`. `url`, `manage` and `sandbox_port` are those of tests.stack_process.Stack."""

    def __init__(self, folder: Path, data_disk: Disk, var_disk: Disk, broker_place: int) -> None:
        self.data_disk, self.var_disk = data_disk, var_disk
        self.sandbox_port = free_block()
        self.port = self.sandbox_port + 30
        self.url = f"http://127.0.0.1:{self.port}"
        self.postgres = Postgres(data_disk.path, self.port + 1)
        self.redis = Redis(folder, self.port + 2)
        self.environment = self._environment() | own_broker(broker_place) | {"REDIS_URL": self.redis.url}
        sandbox = ["-m", "sandbox", "--port", str(self.sandbox_port), "--portal-url", self.url]
        web = ["-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1", "--port", str(self.port)]
        web += ["--workers", "2", "--no-access-log", "--timeout-graceful-shutdown", "3"]
        residents = ["-c", "1", "--residents", "-n"]
        self._folder = folder
        self.sandbox = self._program("sandbox", sandbox)
        self.web = self._program("web", web)
        self.tasks = self._program("tasks", [*CELERY, "-c", str(TASK_THREADS), "-n", "tasks@%h"])
        # Runs only where a test starts it.
        self.more_tasks = self._program("more-tasks", [*CELERY, "-c", str(TASK_THREADS), "-n", "more-tasks@%h"])
        self.here = self._program("here", [*CELERY, *residents, "here@%h"])
        self.there = self._program("there", [*CELERY, *residents, "there@%h"])
        self.residents = (self.here, self.there)
        self.portal = (self.web, self.tasks, self.here, self.there)
        self._all = (*self.portal, self.more_tasks, self.sandbox, self.redis.program, self.postgres.program)

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "DJANGO_"))}
        return ours | {
            "DEBUG": "0",
            "SECRET_KEY": "a stage is no place for secrets",
            "PORTAL_VAR_DIR": str(self.var_disk.path),
            "PORTAL_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "PORTAL_PUBLIC_URL": self.url,
            "PORTAL_ALLOW_PRIVATE_URLS": "1",
            "PORTAL_LEASE_TTL_S": str(LEASE_S),
            "PORTAL_RECHECK_S": RECHECK_S,
            "PORTAL_CARRIER_TIMEOUT_S": "10",
            "PORTAL_LOGIN_ATTEMPTS_PER_MINUTE": "1000",
            "EMAIL_URL": f"smtp://127.0.0.1:{self.sandbox_port + 25}",
            "DATABASE_URL": self.postgres.url,
            "LOG_LEVEL": "INFO",
            "MALLOC_ARENA_MAX": "2",
        }

    def _program(self, name: str, arguments: Sequence[str]) -> Program:
        return Program(name, [sys.executable, *arguments], self.environment, self._folder / f"{name}.log")

    def start(self) -> None:
        self.postgres.start()
        self.redis.start()
        self.sandbox.start()
        self.manage("migrate", "--verbosity", "0")
        for program in self.portal:
            program.start()
        self.wait_until_whole()

    def mend(self) -> None:
        """Start what a test that failed left dead or stopped."""
        for disk in (self.data_disk, self.var_disk):
            disk.clear()
        for program in (self.postgres.program, self.redis.program, self.sandbox, *self.portal):
            program.resume()
            if program.altered:
                program.kill()
            if not program.running:
                program.start()
        self.postgres.wait_until_up()

    def wait_until_whole(self) -> None:
        """Every part is up and does its work."""
        wait_for(self._is_whole, PATIENCE_S, "the whole stage")

    def _is_whole(self) -> bool:
        try:
            ready = requests.get(f"{self.url}/readyz", timeout=10).ok
        except requests.RequestException:
            return False
        return ready and self.dispatchers() == 2 and self.scheduler() != ""

    def dispatchers(self) -> int:
        """How many show a sign of life."""
        query = "SELECT count(*) AS n FROM portal_lease WHERE name LIKE 'sms-dispatcher:%%' AND deadline > now()"
        return int(self.rows(query)[0]["n"])

    def scheduler(self) -> str:
        """Who keeps the schedule, "" when nobody does. The name tells machine, process and start."""
        query = "SELECT holder FROM portal_lease WHERE name = 'scheduler' AND deadline > now()"
        found = self.rows(query)
        return str(found[0]["holder"]) if found else ""

    def keeper_of_the_schedule(self) -> Program | None:
        """The running program whose process holds the scheduler's lease."""
        pid = int((self.scheduler() or ":0").split(":")[1])
        return next((program for program in self.residents if pid in program.pids), None)

    def held_by(self, dispatcher: Program) -> int:
        """How many texts it has begun to send and not settled."""
        query = """SELECT split_part(l.holder, ':', 2) AS pid, count(*) AS n FROM cpaas_attempt a
                   JOIN portal_lease l ON l.name = 'sms-dispatcher:' || a.claim
                   WHERE a.status = 'sending' GROUP BY 1"""
        return sum(int(row["n"]) for row in self.rows(query) if int(row["pid"]) in dispatcher.pids)

    def periodic_runs(self, task: str) -> int:
        """How often the schedule has sent `task`."""
        return int(self.rows("SELECT total FROM portal_periodicrun WHERE name = %s", task)[0]["total"])

    @contextmanager
    def slow_inserts(self, table: str, which: str, seconds: float) -> Iterator[None]:
        """Transactions stay open for a while after they have inserted such a row."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(
                f"""CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
                    CREATE TRIGGER dawdle AFTER INSERT ON {table} FOR EACH ROW WHEN ({which})
                    EXECUTE FUNCTION dawdle()"""
            )
            try:
                yield
            finally:
                connection.execute("DROP FUNCTION dawdle CASCADE")

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.postgres.url, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()

    def fetch_missed(self) -> None:
        """What the schedule does every ten minutes: ask the carriers that tell once for what came in meanwhile."""
        self.manage("shell", "-c", "from cpaas.services.reconciling import fetch_missed; fetch_missed()")

    def manage(self, *arguments: str, **settings: str) -> str:
        """Run a command of manage.py beside the stage; returns what it prints."""
        command = [sys.executable, "manage.py", *arguments]
        environment = self.environment | settings
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def operator_token(self) -> str:
        name = ["--username", "first", "--email", "first@mail.example"]
        token: str = json.loads(self.manage("bootstrap", *name, PORTAL_BOOTSTRAP_PASSWORD="correct horse battery"))[
            "token"
        ]
        return token

    def leaks(self, *typed: str) -> set[str]:
        """Where anything on the stage has put out a secret: one of its keys, one that is stored encrypted, one of those
        that were `typed` in, or any token. Servers' logs and disks are looked through as well."""
        keys = {self.environment["SECRET_KEY"], self.environment["PORTAL_ENCRYPTION_KEYS"]}
        secrets = keys | secrets_stored(self.postgres.url, keys) | set(typed)
        logs = [program.log for program in self._all if program.log.exists()]
        put_out = {log.name: log.read_text(errors="replace") for log in logs}
        assert all(put_out[f"{program.name}.log"] for program in self.portal), "a log was not read"
        found = leaks_in({**put_out, "an event stream": heard_at(self.url)}, secrets)
        # An answer may show a new token, and the webhook's address to administrators.
        found |= leaks_in({"an answer": answered_at(self.url)}, keys | set(typed), tokens=False)
        found |= {f"the file {name}" for name in look_through_files(self.var_disk.path, secrets)}
        return found | {f"the table {name}" for name in look_through_tables(self.postgres.url, secrets)}

    def kill_all(self) -> None:
        for program in self._all:
            program.kill()


@contextmanager
def standing_stage(broker_place: int) -> Iterator[Stage]:
    """A stage that stands until the end of the block, then is gone with all it wrote.

    Its broker is its own Redis, or place `broker_place` of the tests' RabbitMQ when there is one.
    """
    base = Path(tempfile.gettempdir()) / "portal-faults"
    base.mkdir(mode=0o755, exist_ok=True)
    unmount_leftovers(base)
    folder = base / f"stage-{os.getpid()}"
    with ExitStack() as stack:
        folder.mkdir(mode=0o755)
        data_disk = stack.enter_context(mounted(folder / "data", 384))
        var_disk = stack.enter_context(mounted(folder / "var", 16))
        stage = Stage(folder, data_disk, var_disk, broker_place)
        stack.callback(stage.kill_all)
        stage.start()
        yield stage
