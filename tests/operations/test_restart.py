"""portal-restart restarts what runs, and only that, and says so when it cannot."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.operations.deployed import DEPLOY

# An address of this machine alone, where the ports of production are free.
HOST = f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.9"
SYSTEMCTL = """#!/bin/sh
[ "$1" != list-units ] || { cat "$0.units"; exit; }
echo "$*" >>"$0.orders"
"""


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def listening(port: int) -> Iterator[None]:
    with ThreadingHTTPServer((HOST, port), Healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield
        server.shutdown()


def restart(folder: Path, *active: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What it said and ordered of a systemd that has these units active; of one that fails when none is named."""
    systemctl = folder / "systemctl"
    systemctl.write_text(SYSTEMCTL)
    (folder / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.01\n")
    for program in (systemctl, folder / "sleep"):
        program.chmod(0o755)
    if active:
        lines = "".join(f"{unit} loaded active running Partner Portal\n" for unit in active if unit)
        (folder / "systemctl.units").write_text(lines)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        [DEPLOY / "bin" / "portal-restart"],
        env=os.environ | {"PATH": path, "PORTAL_BIND": HOST},
        capture_output=True,
        text=True,
        check=False,
    )
    orders = folder / "systemctl.orders"
    return done, orders.read_text().splitlines() if orders.exists() else []


def test_each_process_that_takes_requests_is_awaited_then_the_workers_go(tmp_path: Path) -> None:
    units = ["portal-residents.service", "portal-stream@1.service", "portal-tasks.service", "portal-web@2.service"]
    with listening(8102), listening(8111):
        done, orders = restart(tmp_path, *units)
    assert done.returncode == 0, done.stderr
    assert orders == [
        "try-restart portal-stream@1.service",
        "try-restart portal-web@2.service",
        "try-restart portal-residents.service portal-tasks.service",
    ]


def test_workers_that_do_not_run_here_are_not_started(tmp_path: Path) -> None:
    with listening(8101):
        done, orders = restart(tmp_path, "portal-web@1.service")
    assert done.returncode == 0, done.stderr
    assert orders == ["try-restart portal-web@1.service"]


def test_a_process_that_does_not_answer_is_the_last_one(tmp_path: Path) -> None:
    done, orders = restart(tmp_path, "portal-tasks.service", "portal-web@1.service", "portal-web@2.service")
    assert done.returncode == 1
    assert "portal-web@1.service does not answer on port 8101" in done.stderr
    assert orders == ["try-restart portal-web@1.service"]


def test_a_systemctl_that_fails_and_a_machine_where_nothing_runs_are_failures(tmp_path: Path) -> None:
    done, orders = restart(tmp_path)
    assert (done.returncode, orders) == (1, [])
    assert "systemctl does not say what runs" in done.stderr
    done, orders = restart(tmp_path, "")
    assert (done.returncode, orders) == (1, [])
    assert "nothing of the portal runs on this machine" in done.stderr
