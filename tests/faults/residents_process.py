"""The residents, and with them a dispatcher, as a process of their own, to be stopped, woken and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from django.conf import settings

from tests.faults.web_process import database_url
from tests.sandbox_process import ROOT


class ResidentsProcess:
    """`manage.py residents` on the test database; `lease_s` is how long its sign of life lasts,
    `database_port` a way to the database that can be cut."""

    def __init__(self, var_dir: Path, *, lease_s: float, database_port: int | None = None) -> None:
        environment = os.environ | {
            "DATABASE_URL": database_url(database_port),
            "PORTAL_VAR_DIR": str(var_dir),
            "PORTAL_ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
            "PORTAL_LEASE_TTL_S": str(lease_s),
            "DEBUG": "1",
        }
        command = [sys.executable, "manage.py", "residents"]
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)
