"""A web process of its own on the test database, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import requests
from django.conf import settings
from django.db import connection

from portal.sql import execute
from tests.ports import free_port
from tests.sandbox_process import ROOT, wait_for


class WebProcess:
    """uvicorn serving the portal. `database_port` is where it looks for PostgreSQL, for example behind a gate;
    what else is `given` goes into its environment."""

    def __init__(self, var_dir: Path, *, database_port: int | None = None, **given: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = os.environ | {
            "DATABASE_URL": database_url(database_port),
            "PORTAL_VAR_DIR": str(var_dir),
            "PORTAL_ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
            "PORTAL_PUBLIC_URL": self.url,
            "DEBUG": "1",
            **given,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(self.port)]
        self._process = subprocess.Popen([*command, "--log-level", "warning"], cwd=ROOT, env=self._environment)
        wait_for(self._answers, what="the web process")

    def manage(self, *arguments: str) -> None:
        subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=self._environment, check=True)

    def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=2).ok
        except requests.RequestException:
            return False


def database_url(port: int | None = None) -> str:
    """The test database as a URL, reached through another port if given."""
    found = connection.settings_dict
    return f"postgres://{found['USER']}:{found['PASSWORD']}@{found['HOST']}:{port or found['PORT']}/{found['NAME']}"


def wait_until_alone(patience_s: float = 30) -> None:
    """Until nobody else is at the database: PostgreSQL ends what a killed process had begun, and emptying the tables
    must not meet it."""
    theirs = "datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
    statement = f"SELECT pid FROM pg_stat_activity WHERE {theirs}"
    wait_for(lambda: not execute(statement), patience_s, "the database to be left alone")
