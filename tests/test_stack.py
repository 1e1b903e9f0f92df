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
import requests

from tests.ports import free_block
from tests.sandbox_process import ROOT, wait_for
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
    with socket.create_server(("127.0.0.1", free_block())) as taken:
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


def test_deployed_processes_share_one_start_and_nobody_survives_another(tmp_path: Path) -> None:
    """deploy/systemd/portal-all.service."""
    port = free_block()
    with own_database() as database_url:
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        environment |= {
            "PORTAL_VAR_DIR": str(tmp_path),
            "SECRET_KEY": "x" * 50,
            "DEBUG": "0",
            "PORTAL_SINGLE_HOST": "1",
        }
        environment |= {"DATABASE_URL": database_url} if database_url else {}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=environment, check=True)
        command = [sys.executable, "-m", "portal.stack", "--deployed", "--port", str(port)]
        stack = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            _answers_everywhere(port)
            (server,) = [pid for pid in _named(tmp_path, b"portal-web-1") if _parent(pid) == stack.pid]
            os.kill(server, signal.SIGKILL)
            wait_for(lambda: server not in _named(tmp_path, b"portal-web-1"), PATIENCE_S, "the end of web-1")
            wait_for(lambda: len(_named(tmp_path, b"portal-web-1")) == 2, PATIENCE_S, "a new server with its worker")
            _answers_everywhere(port)
            stack.terminate()
            assert stack.wait(PATIENCE_S) == 0
            assert processes_of(tmp_path) == {}
        finally:
            stack.kill()
            wait_for(lambda: processes_of(tmp_path) == {}, PATIENCE_S, "the end of all")


def _answers_everywhere(port: int) -> None:
    for web in (port, port + 1):
        wait_for(lambda web=web: _status(web, "/readyz") == 200, PATIENCE_S, f"port {web}")  # type: ignore[misc]
    wait_for(lambda: _status(port + 10, "/api/v1/events/") == 401, PATIENCE_S, "the event stream")


def _status(port: int, path: str) -> int:
    try:
        return requests.get(f"http://127.0.0.1:{port}{path}", headers={"Host": "localhost"}, timeout=5).status_code
    except requests.RequestException:
        return 0


def _named(folder: Path, name: bytes) -> list[int]:
    return [pid for pid, line in processes_of(folder).items() if line.startswith(name + b"\n")]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_forked_processes_do_not_make_the_same_ids() -> None:
    """The generator of UUIDs has state, which a fork copies."""
    script = """
import os
from portal.ids import new_id
new_id()
for _ in range(4):
    if os.fork() == 0:
        os.write(1, ("\\n".join(str(new_id()) for _ in range(50)) + "\\n").encode())
        os._exit(0)
"""
    environment = os.environ | {"DEBUG": "1"}
    made = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    ids = made.stdout.split()
    assert len(ids) == len(set(ids)) == 200
