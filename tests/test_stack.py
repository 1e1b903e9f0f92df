"""`manage.py runstack` as a real process (contracts section 1): ready, healed, ended in order, nothing left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from tests.sandbox_process import ROOT, free_ports, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.core]
PATIENCE_S = 120
PROGRAMS = {"web": b"uvicorn", "tasks": b"tasks@%h", "residents": b"--residents", "sandbox": b"-m\0sandbox"}


def processes_of(folder: Path) -> dict[int, bytes]:
    """Command lines of the running processes whose PORTAL_VAR_DIR is `folder`, by process id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"PORTAL_VAR_DIR={folder}\0".encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes()
        except OSError:
            continue
    return {pid: command for pid, command in found.items() if command}


class Stack:
    """A running stack on ports and with data of its own, on the database and broker of the environment."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        self.folder = folder
        self.sandbox_port = free_ports()
        self.port = self.sandbox_port + 30
        self.lines: list[str] = []
        own = {"PORTAL_VAR_DIR": str(folder)} | ({"DATABASE_URL": database_url} if database_url else {})
        command = [sys.executable, "manage.py", "runstack", "--no-demo", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--sandbox-port", str(self.sandbox_port)],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "DEBUG"} | own,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def wait_until_ready(self) -> None:
        ready = f"ready http://127.0.0.1:{self.port}"
        wait_for(lambda: ready in self.lines or self.process.poll() is not None, PATIENCE_S, ready)
        assert ready in self.lines, self.lines

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=30)

    def pid_of(self, program: str) -> int | None:
        return next((pid for pid, line in processes_of(self.folder).items() if PROGRAMS[program] in line), None)

    def residents_up(self) -> bool:
        metrics = self.get("/metrics").text
        up = 'portal_resident_up{name="%s",tenant=""} 1.0'
        return all(up % name in metrics for name in ("scheduler", "sms-dispatcher"))


@pytest.fixture
def database_url() -> Iterator[str | None]:
    """A new database beside the tests' when there is a PostgreSQL; None is the embedded default."""
    server = os.environ.get("DATABASE_URL")
    if server is None:
        yield None
        return
    name = f"stack_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def stack(tmp_path: Path, database_url: str | None) -> Iterator[Stack]:
    running = Stack(tmp_path, database_url)
    try:
        running.wait_until_ready()
        yield running
    finally:
        for pid in processes_of(tmp_path):
            os.kill(pid, signal.SIGKILL)
        running.process.wait()


def test_the_stack_is_ready_heals_itself_and_ends_in_order(stack: Stack) -> None:
    assert stack.get("/readyz").status_code == 200
    wait_for(stack.residents_up, PATIENCE_S, "residents")
    assert all(stack.pid_of(program) for program in PROGRAMS)

    killed = stack.pid_of("residents")
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: stack.pid_of("residents") not in {None, killed}, PATIENCE_S, "a new residents worker")

    stack.process.terminate()
    assert stack.process.wait(PATIENCE_S) == 0
    assert processes_of(stack.folder) == {}
    assert not [line for line in stack.lines if "killing it" in line]


def test_ctrl_c_reaches_the_whole_group_and_still_ends_in_order(stack: Stack) -> None:
    os.killpg(stack.process.pid, signal.SIGINT)
    assert stack.process.wait(PATIENCE_S) == 0
    assert processes_of(stack.folder) == {}
    assert not [line for line in stack.lines if "starting it again" in line]


def test_kill_9_of_the_supervisor_leaves_nothing_running(stack: Stack) -> None:
    stack.process.kill()
    wait_for(lambda: processes_of(stack.folder) == {}, PATIENCE_S, "the end of all")


def test_a_port_in_use_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_ports())) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "manage.py", "runstack", "--no-demo", "--port", str(port)],
            cwd=ROOT,
            env=os.environ | {"PORTAL_VAR_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    assert f"Port {port} is not free" in done.stderr
    assert processes_of(tmp_path) == {}
