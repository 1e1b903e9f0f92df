"""Memory of the whole idle stack: what every process has to itself and its share of what it has in common (PSS).

Production's processes with their PostgreSQL and Redis, forked from one (portal-all.service) and each by itself as
deploy/systemd has them; and the one-command stack of `make run` on SQLite. Each web server has answered some requests.
Goal: at most 360 MB. The text-book stack that the goal comes from (gunicorn, uvicorn, prefork worker of 4, beat,
PostgreSQL, Redis) took 450 MB.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import requests

from benchmarks._setup import BIN, ROOT, prepare, process, show, wait_for_port
from tests.ports import free_block, free_port

SETTLE_S = int(os.environ.get("BENCH_SECONDS", "20"))
GOAL_MB = 360
CELERY = (str(BIN / "celery"), "-q", "-A", "portal.celery", "worker", "-P", "threads", "-l", "warning")
GRANIAN = (str(BIN / "granian"), "--interface", "wsgi", "--http", "1", "--no-ws", "--workers", "1")
GRANIAN += ("--blocking-threads", "16", "--log-level", "error", "portal.wsgi:application")
PATHS = ("/healthz", "/readyz", "/api/v1/session/")


def main() -> None:
    prepare()
    os.environ["MALLOC_ARENA_MAX"] = "2"
    rows: list[tuple[str, ...]] = [("stack", "part", "MB (PSS)", "of the goal")]
    rows += _forked()
    rows += _apart()
    rows += _one_command()
    show(f"Memory after {SETTLE_S} s of idling", rows)


def _forked() -> list[tuple[str, ...]]:
    port = free_port()
    command = (sys.executable, "-m", "portal.stack", "--deployed", "--port", str(port))
    with process(*command, port=port + 10) as stack:
        return _rows("production, one unit", _settled({"portal": stack}, [port, port + 1]))


def _apart() -> list[tuple[str, ...]]:
    web, other_web, stream = free_port(), free_port(), free_port()
    uvicorn = (str(BIN / "uvicorn"), "portal.asgi:application", "--log-level", "warning", "--port", str(stream))
    with ExitStack() as stack:
        parts = {
            "web": stack.enter_context(process(*GRANIAN, "--port", str(web), port=web)),
            "other web": stack.enter_context(process(*GRANIAN, "--port", str(other_web), port=other_web)),
            "stream": stack.enter_context(process(*uvicorn, port=stream)),
            "tasks": stack.enter_context(process(*CELERY, "-c", "8", "-n", "tasks@%h")),
            "residents": stack.enter_context(process(*CELERY, "-c", "1", "-n", "residents@%h", "--residents")),
        }
        return _rows("production, a unit each", _settled(parts, [web, other_web]))


def _settled(parts: dict[str, subprocess.Popen[bytes]], ports: list[int]) -> dict[str, float]:
    """Megabytes of each part and of the servers, after some requests and a while of nothing."""
    for port in ports:
        wait_for_port(port)
        for path in PATHS:
            requests.get(f"http://127.0.0.1:{port}{path}", headers={"Host": "localhost"}, timeout=30)
    time.sleep(SETTLE_S)
    gone = [name for name, part in parts.items() if part.poll() is not None]
    assert not gone, f"ended by themselves: {gone}"
    found = {name: _pss(_tree(part.pid)) for name, part in parts.items()}
    servers = set(_tree(_services())) - set(_tree(os.getpid()))
    return found | {"PostgreSQL and Redis": _pss(servers)}


def _services() -> int:
    """The process of scripts/with-services: the first above us that has servers below it."""
    pid = os.getppid()
    while not any("postgres" in _command(child) for child in _tree(pid)):
        pid = _parent(pid)
    return pid


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _one_command() -> list[tuple[str, ...]]:
    names = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "PORTAL_VAR_DIR", "SECRET_KEY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    port = free_port()
    command = [sys.executable, "manage.py", "runstack", "--port", str(port), "--sandbox-port", str(free_block())]
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as folder:
        stack = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment | {"PORTAL_VAR_DIR": folder},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert stack.stdout is not None
            next(line for line in stack.stdout if line.startswith("ready "))
            time.sleep(SETTLE_S)
            found = {"all": _pss(_tree(stack.pid))}
        finally:
            os.killpg(stack.pid, signal.SIGTERM)
            stack.communicate(timeout=60)
    return _rows("make run (SQLite, with the simulated carrier)", found)


def _rows(stack: str, found: dict[str, float]) -> list[tuple[str, ...]]:
    total = sum(found.values())
    parts = [(stack, name, f"{size:.0f}", "") for name, size in found.items() if len(found) > 1]
    return [*parts, (stack, "together", f"{total:.0f}", f"{total / GOAL_MB:.2f}")]


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def _pss(pids: Iterable[int]) -> float:
    """Megabytes of those processes together, the median of three looks."""
    wanted = list(pids)
    looks = []
    for _ in range(3):
        looks.append(sum(_pss_of(pid) for pid in wanted))
        time.sleep(1)
    return median(looks)


def _pss_of(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
