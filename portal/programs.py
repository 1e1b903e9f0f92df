"""What runs: each program of the portal as a function, for processes forked from one that has loaded them all."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

PR_SET_PDEATHSIG = 1
# Where deploy/nginx finds the first web server; the second is on the next port, the event stream ten further.
DEPLOYED_PORT = 8101
# All that the programs below import when they start, besides what comes with it.
MODULES = (
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "celery.worker.consumer",
    "granian.server",
    "portal.asgi",
    "portal.celery",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Program:
    """`run` returns or exits when the program has ended. With `after` it runs once, each time that one has started.

    Programs start in the opposite order of that in which they end; those of one `rank` end together, the lowest first.
    The stack is ready when something listens on each `port`.
    """

    name: str
    run: Callable[[], object]
    rank: int
    after: str = ""
    port: int | None = None


def die_with(parent: int) -> None:
    """End when process `parent` ends, even by kill -9 (Linux)."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The moment between fork and here.
    if os.getppid() != parent:
        os._exit(1)


def load_all() -> None:
    """Import what the programs need and build the URL table. Forking is safe afterwards: no thread, no connection."""
    for module in MODULES:
        import_module(module)
    from django.db import connections
    from django.urls import get_resolver

    from portal.celery import app

    app.loader.import_default_modules()
    get_resolver()._populate()
    opened = [one.alias for one in connections.all(initialized_only=True) if one.connection is not None]
    assert not opened, f"loading connected to {opened}"
    assert threading.active_count() == 1, threading.enumerate()


def programs_of_a_stack(port: int, sandbox_port: int) -> list[Program]:
    """Those of `manage.py runstack`, with one web process that serves the event stream as well."""
    sandbox = ["-m", "sandbox", "--port", str(sandbox_port), "--echo", "--portal-url", f"http://127.0.0.1:{port}"]
    return [
        Program("web", partial(_asgi, "127.0.0.1", port, grace_s=3), rank=0),
        Program("tasks", partial(_tasks, threads=4), rank=1),
        Program("residents", _residents, rank=1),
        # The sandbox remembers nothing: it is told again where the texts of numbers go, and whom BroadWorks knows.
        Program("hooks", _tell_sandbox, rank=1, after="sandbox"),
        Program("sandbox", partial(os.execv, sys.executable, [sys.executable, *sandbox]), rank=2, port=sandbox_port),
    ]


def deployed_programs(host: str, port: int) -> list[Program]:
    """Those of one machine in production, as deploy/systemd starts them one by one."""
    return [
        Program("web-1", partial(_wsgi, host, port), rank=0),
        Program("web-2", partial(_wsgi, host, port + 1), rank=0, port=port + 1),
        Program("stream", partial(_asgi, host, port + 10, grace_s=10), rank=0, port=port + 10),
        Program("tasks", partial(_tasks, threads=8), rank=1),
        Program("residents", _residents, rank=1),
    ]


def _wsgi(host: str, port: int) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.log import LogLevels
    from granian.server import Server

    Server(
        "portal.wsgi:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=1,
        blocking_threads=16,
        workers_kill_timeout=12,
        log_level=LogLevels.error,
    ).serve(target_loader=partial(_load_wsgi, os.getpid()))


def _load_wsgi(server: int, target: str) -> Any:
    """The application, in the process that Granian has forked to serve it and would leave behind if it were killed."""
    die_with(server)
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _asgi(host: str, port: int, grace_s: int) -> None:
    import uvicorn

    uvicorn.run(
        "portal.asgi:application",
        host=host,
        port=port,
        proxy_headers=False,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=grace_s,
    )


def _tasks(threads: int) -> None:
    _worker("-c", str(threads), "-n", "tasks@%h")


def _residents() -> None:
    _worker("-c", "1", "-n", "residents@%h", "--residents")


def _worker(*arguments: str) -> None:
    from portal.celery import app

    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.start(["-q", "worker", "-P", "threads", "-l", os.environ.get("LOG_LEVEL", "INFO"), *quiet, *arguments])


def _tell_sandbox() -> None:
    from django.core.management import call_command

    call_command("checkhooks", "--wait", "20")
    call_command("tellsandbox", "--wait", "20")
