"""The whole portal in one foreground process group: `manage.py runstack` turns into this once the database is ready,
and so does deploy/systemd/portal-all.service, which runs everything of a small machine.

The supervisor imports everything once and forks, so that its children share that memory. A child that dies is started
again with back-off. SIGTERM or Ctrl-C ends all in order, web first, so that what was accepted is worked off; children
of a killed supervisor are killed by the kernel.

    python -m portal.stack --port 8000 --sandbox-port 8100      with the simulated outside world
    python -m portal.stack --deployed                           the processes of deploy/systemd
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from typing import IO

from portal import collector
from portal.programs import DEPLOYED_PORT, Program, deployed_programs, die_with, load_all, programs_of_a_stack

PR_SET_NAME = 15
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SOUND_AFTER_S = 30.0
LONGEST_BACK_OFF_S = 30.0
END_S = 15.0

_libc = ctypes.CDLL(None)


@dataclass
class Child:
    """One program of the stack and its present process."""

    program: Program
    ended_once: bool = False
    process: ForkProcess | None = None
    output: IO[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    rest: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        return self.program.name

    def running(self) -> bool:
        return self.process is not None and self.process.is_alive()


class Stack:
    """The supervisor. `run` returns when everything has ended."""

    def __init__(self, programs: Sequence[Program], host: str, port: int) -> None:
        self._children = [Child(program, start_at=math.inf if program.after else 0) for program in programs]
        self._host, self._port = host, port
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
        for number in SIGNALS:
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
        reader, writer = os.pipe()
        child.process = ForkProcess(target=self._become, args=(child.program, os.getpid(), writer))
        child.process.start()
        os.close(writer)
        os.set_blocking(reader, False)
        child.output = open(reader, "rb", buffering=0)  # noqa: SIM115 - closed when the child has ended
        child.started_at = time.monotonic()
        for follower in self._children:
            if follower.program.after == child.name:
                follower.start_at = child.started_at
        self._output.register(child.output, selectors.EVENT_READ, child)

    def _become(self, program: Program, parent: int, writer: int) -> None:
        """In the child: let go of what is the supervisor's, then run (Linux)."""
        die_with(parent)
        # Ctrl-C goes to the whole group; only the supervisor acts on it, so that the end is in order.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self._output.close()
        for file in (self._wake_reader, self._wake_writer, *(c.output.fileno() for c in self._children if c.output)):
            os.close(file)
        for standard in (1, 2):
            os.dup2(writer, standard)
        os.close(writer)
        _libc.prctl(PR_SET_NAME, f"portal-{program.name}".encode())
        program.run()

    def _note_dead(self) -> None:
        for child in self._children:
            if child.process is None or child.running():
                continue
            status, now = child.process.exitcode, time.monotonic()
            self._drop_output(child)
            child.ended_once = True
            if child.program.after and status == 0:
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
        stream, child.output = child.output, None
        assert stream is not None
        if stream.fileno() in {key.fd for key in self._output.get_map().values()}:
            self._relay_from(child, stream)
        if stream.fileno() in {key.fd for key in self._output.get_map().values()}:
            self._output.unregister(stream)
        stream.close()

    def _look_whether_ready(self) -> None:
        if self._ready or not all(child.ended_once for child in self._children if child.program.after):
            return
        ports = [child.program.port for child in self._children if child.program.port is not None]
        if answers_ready(self._host, self._port) and all(listens(self._host, port) for port in ports):
            self._ready = True
            print(f"ready http://{self._host}:{self._port}", flush=True)  # noqa: T201

    def _end_all(self) -> None:
        """In the programs' order, those of one rank together; each has its time, then it is killed."""
        for rank in sorted({child.program.rank for child in self._children}):
            group = [child for child in self._children if child.program.rank == rank and child.running()]
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
                child.process.join()


def answers_ready(host: str, port: int) -> bool:
    """Whether /readyz answers 200."""
    try:
        with socket.create_connection((host, port), timeout=0.2) as connection:
            connection.settimeout(5)
            connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def say(line: str, name: str = "stack") -> None:
    print(f"{name:<9} | {line}", flush=True)  # noqa: T201


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployed", action="store_true")
    parser.add_argument("--port", type=int)
    parser.add_argument("--sandbox-port", type=int, default=8100)
    options = parser.parse_args()
    port = options.port or (DEPLOYED_PORT if options.deployed else 8000)
    load_all()
    # Going through it in every child would copy its pages as well.
    collector.spare_what_stays()
    if options.deployed:
        host = os.environ.get("PORTAL_BIND", "127.0.0.1")
        return Stack(deployed_programs(host, port), host, port).run()
    return Stack(programs_of_a_stack(port, options.sandbox_port), "127.0.0.1", port).run()


if __name__ == "__main__":
    sys.exit(main())
