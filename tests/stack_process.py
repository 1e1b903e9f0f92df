"""`manage.py runstack` as real processes, for tests of the whole."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import requests

from tests.ports import free_block
from tests.process_secrets import (
    answered_at,
    heard_at,
    keys_in,
    leaks_in,
    look_through_files,
    look_through_tables,
    secrets_stored,
)
from tests.sandbox_process import ROOT, wait_for

PATIENCE_S = 120
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
PROGRAMS = {
    "web": b"portal-web",
    "tasks": b"portal-tasks",
    # Linux keeps 15 characters.
    "residents": b"portal-resident",
    "sandbox": b"-m\0sandbox",
}


def _end_with_the_tests() -> None:
    """Tests that are killed leave no stack behind (Linux)."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def processes_of(folder: Path) -> dict[int, bytes]:
    """Names and command lines of the running processes whose PORTAL_VAR_DIR is `folder`, by process id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"PORTAL_VAR_DIR={folder}\0".encode() in (entry / "environ").read_bytes():
                command = (entry / "cmdline").read_bytes()
                if command:
                    found[int(entry.name)] = (entry / "comm").read_bytes() + command
        except OSError:
            continue
    return found


class Stack:
    """A running stack on ports and with data of its own; `settings` go into its environment."""

    def __init__(self, folder: Path, *, demo: bool = False, **settings: str | None) -> None:
        self.folder = folder
        self.sandbox_port = free_block()
        self.port = self.sandbox_port + 30
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        given = {name: value for name, value in settings.items() if value is not None}
        inherited = {name: value for name, value in os.environ.items() if name != "DEBUG"}
        # More is said than by default, so that more is looked through for secrets.
        self.environment = inherited | {"PORTAL_VAR_DIR": str(folder), "LOG_LEVEL": "INFO"} | given
        command = [sys.executable, "manage.py", "runstack", *([] if demo else ["--no-demo"]), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--sandbox-port", str(self.sandbox_port)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_end_with_the_tests,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def wait_until_ready(self) -> None:
        ready = f"ready {self.url}"
        wait_for(lambda: ready in self.lines or self.process.poll() is not None, PATIENCE_S, ready)
        assert ready in self.lines, self.lines

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=30)

    def pid_of(self, program: str) -> int | None:
        return next((pid for pid, line in processes_of(self.folder).items() if PROGRAMS[program] in line), None)

    def residents_up(self) -> bool:
        metrics = self.get("/metrics").text
        return all(f'portal_resident_up{{name="{name}"}} 1.0' in metrics for name in ("scheduler", "sms-dispatcher"))

    def manage(self, *arguments: str, **settings: str) -> str:
        """Run a command of manage.py beside the running stack; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment | {"DEBUG": "1"} | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.lines += done.stderr.splitlines()
        return done.stdout

    def end(self) -> None:
        """Stop it as Ctrl-C does; whatever then still runs is killed."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.kill()

    def kill(self) -> None:
        for pid in processes_of(self.folder):
            with suppress(ProcessLookupError):  # the supervisor's end is the end of the others
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def leaks(self, *typed: str) -> set[str]:
        """Where it, which has ended, put out a secret: one of its own, one of those that were `typed` in, any token."""
        database_url = self.environment.get("DATABASE_URL")
        keys = keys_in(self.folder)
        secrets = keys | secrets_stored(database_url or self.folder / "portal.sqlite3", keys) | set(typed)
        assert any("[info" in line for line in self.lines), "its log was not read"
        found = leaks_in({"its output": "\n".join(self.lines), "an event stream": heard_at(self.url)}, secrets)
        # An answer may show a new token, and the second factor and the webhook's address to administrators.
        found |= leaks_in({"an answer": answered_at(self.url)}, keys | set(typed), tokens=False)
        found |= {f"the file {name}" for name in look_through_files(self.folder, secrets)}
        tables = look_through_tables(database_url, secrets) if database_url else set()
        return found | {f"the table {name}" for name in tables}


@contextmanager
def own_database() -> Iterator[str | None]:
    """A new database beside the tests' when there is a PostgreSQL; None is the embedded default."""
    server = os.environ.get("DATABASE_URL")
    if server is None:
        yield None
        return
    name = f"stack_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def own_broker(place: int) -> dict[str, str]:
    """Settings of one stack: a database of the tests' Redis and a virtual host of their RabbitMQ, as far as there are.

    Two stacks on one broker would take each other's tasks.
    """
    servers = {name: os.environ[name] for name in ("REDIS_URL", "CELERY_BROKER_URL") if os.environ.get(name)}
    return {name: urlsplit(server)._replace(path=f"/{place}").geturl() for name, server in servers.items()}
