"""The whole portal in one foreground process group: `manage.py runstack` turns into this once the database is ready.

Only the standard library is imported, so that the supervisor itself costs next to nothing. A child that dies is
started again with back-off. SIGTERM or Ctrl-C ends all in order, web first, so that what was accepted is worked off;
children of a killed supervisor are killed by the kernel.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO

PR_SET_PDEATHSIG = 1
SOUND_AFTER_S = 30.0
LONGEST_BACK_OFF_S = 30.0
END_S = 15.0

_libc = ctypes.CDLL(None)


@dataclass
class Child:
    """One program of the stack and its present process. With `after` it runs once, each time that one has started."""

    name: str
    command: list[str]
    after: str = ""
    ended_once: bool = False
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    rest: bytes = field(default=b"", repr=False)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def children_of(port: int, sandbox_port: int) -> list[Child]:
    """The programs in the order in which they end; they start in the opposite one."""
    python = sys.executable
    celery = [python, "-m", "celery", "-q", "-A", "portal.celery", "worker", "-P", "threads", "-l", "WARNING"]
    celery += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    web = [python, "-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
    web += ["--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "3"]
    sandbox = [python, "-m", "sandbox", "--port", str(sandbox_port), "--echo"]
    return [
        Child("web", web),
        Child("tasks", [*celery, "-c", "4", "-n", "tasks@%h"]),
        Child("residents", [*celery, "-c", "1", "-n", "residents@%h", "--residents"]),
        Child("sandbox", [*sandbox, "--portal-url", f"http://127.0.0.1:{port}"]),
        # The sandbox remembers nothing: the numbers that are there already tell it again where their texts go.
        Child("hooks", [python, "manage.py", "checkhooks", "--wait", "20"], after="sandbox"),
    ]


class Stack:
    """The supervisor. `run` returns when everything has ended."""

    def __init__(self, children: Sequence[Child], port: int) -> None:
        self._children = list(children)
        for child in self._children:
            child.start_at = math.inf if child.after else 0
        self._port = port
        self._ending = False
        self._ready = False
        self._output = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        os.set_blocking(self._wake_reader, False)

    def run(self) -> int:
        """0 when it was asked to end."""
        signal.set_wakeup_fd(self._wake_writer)
        self._output.register(self._wake_reader, selectors.EVENT_READ, None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            while not self._ending:
                self._start_due()
                self._relay(0.2)
                self._note_dead()
                self._look_whether_ready()
        finally:
            self._end_all()
        return 0

    def _on_signal(self, *_: object) -> None:
        if self._ending:
            self._kill_all()
        self._ending = True

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in reversed(self._children):
            if child.process is None and child.start_at <= now:
                self._start(child)

    def _start(self, child: Child) -> None:
        child.process = subprocess.Popen(  # noqa: S603 - our own programs, above
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_as_child(os.getpid()),
        )
        child.started_at = time.monotonic()
        for follower in self._children:
            if follower.after == child.name:
                follower.start_at = child.started_at
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._output.register(child.process.stdout, selectors.EVENT_READ, child)

    def _note_dead(self) -> None:
        for child in self._children:
            if child.process is None or child.running():
                continue
            status, now = child.process.returncode, time.monotonic()
            self._drop_output(child)
            child.ended_once = True
            if child.after and status == 0:
                child.process, child.start_at = None, math.inf
                continue
            sound = now - child.started_at > SOUND_AFTER_S
            child.failures = 0 if sound else child.failures + 1
            wait_s = min(0.5 * 2**child.failures, LONGEST_BACK_OFF_S)
            child.process, child.start_at = None, now + wait_s
            say(f"{child.name} ended with status {status}, starting it again in {wait_s:.0f} s")

    def _relay(self, timeout_s: float) -> None:
        """Pass on complete lines of the children's output, each behind the child's name."""
        for key, _ in self._output.select(timeout_s):
            if key.data is None:
                os.read(self._wake_reader, 512)
                continue
            self._relay_from(key.data, key.fileobj)  # type: ignore[arg-type]

    def _relay_from(self, child: Child, stream: IO[bytes]) -> None:
        chunk = stream.read(65536)
        if chunk == b"":
            self._output.unregister(stream)
            return
        *lines, child.rest = (child.rest + (chunk or b"")).split(b"\n")
        for line in lines:
            say(line.decode(errors="replace"), child.name)

    def _drop_output(self, child: Child) -> None:
        assert child.process is not None
        stream = child.process.stdout
        assert stream is not None
        if stream.fileno() in {key.fd for key in self._output.get_map().values()}:
            self._relay_from(child, stream)
        if stream.fileno() in {key.fd for key in self._output.get_map().values()}:
            self._output.unregister(stream)
        stream.close()

    def _look_whether_ready(self) -> None:
        if self._ready or not all(child.ended_once for child in self._children if child.after):
            return
        if answers_ready(self._port):
            self._ready = True
            print(f"ready http://127.0.0.1:{self._port}", flush=True)  # noqa: T201

    def _end_all(self) -> None:
        """Web first, then both workers, then the sandbox; each has its time, then it is killed."""
        for names in ({"web"}, {"tasks", "residents", "hooks"}, {"sandbox"}):
            group = [child for child in self._children if child.name in names and child.running()]
            for child in group:
                assert child.process is not None
                child.process.terminate()
            deadline = time.monotonic() + END_S
            while any(child.running() for child in group) and time.monotonic() < deadline:
                self._relay(0.1)
            for child in group:
                if child.running():
                    say(f"{child.name} did not end, killing it")
        self._kill_all()

    def _kill_all(self) -> None:
        for child in self._children:
            if child.process is not None and child.running():
                child.process.kill()
                child.process.wait()


def _as_child(parent: int) -> Callable[[], None]:
    """What a child does before it turns into its program (Linux)."""

    def prepare() -> None:
        # Dies with us even when we are killed; without this moment's gap between fork and here.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # Ctrl-C goes to the whole group; only the supervisor acts on it, so that the end is in order.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])

    return prepare


def answers_ready(port: int) -> bool:
    """Whether /readyz answers 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection:
            connection.settimeout(5)
            connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def say(line: str, name: str = "stack") -> None:
    print(f"{name:<9} | {line}", flush=True)  # noqa: T201


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sandbox-port", type=int, required=True)
    options = parser.parse_args()
    return Stack(children_of(options.port, options.sandbox_port), options.port).run()


if __name__ == "__main__":
    sys.exit(main())
