"""`manage.py runstack` as a real process (contracts section 1): ready, healed, ended in order, nothing left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox_process import ROOT, free_ports, wait_for
from tests.stack_process import PATIENCE_S, PROGRAMS, Stack, own_database, processes_of

pytestmark = [pytest.mark.e2e, pytest.mark.core]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with own_database() as database_url:
        running = Stack(tmp_path, DATABASE_URL=database_url)
        try:
            running.wait_until_ready()
            yield running
        finally:
            running.kill()


@pytest.mark.broker
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
