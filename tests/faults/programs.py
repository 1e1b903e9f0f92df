"""Programs of a stage: each a process with children of its own, to be killed, stopped, woken and started again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.sandbox_process import ROOT, wait_for

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_the_tests() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """`start` may be called again after `kill` or `end`. Call it from the main thread: the kernel kills what a thread
    has started when that thread ends."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, **popen: Any
    ) -> None:
        self.name, self._command, self._environment, self.log = name, list(command), dict(environment), log
        self._popen = {"cwd": ROOT, **popen}
        self._process: subprocess.Popen[bytes] | None = None
        self.altered = False

    def reconfigure(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Another command and environment from the next start on."""
        self._command, self._environment = list(command), dict(environment)

    def start(self, **environment: str) -> None:
        """`environment` holds for this start only, which is then `altered`."""
        assert not self.running, f"{self.name} runs already"
        self.altered = bool(environment)
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_the_tests,
                **self._popen,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pids(self) -> list[int]:
        """The process and all below it."""
        return family(self._process.pid) if self._process is not None and self.running else []

    def kill(self) -> None:
        """`kill -9` of all of it, as when its machine loses power."""
        pids = self.pids
        # Stopped first, so that none has the time to notice, to tidy up or to start another one.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                _send(pid, number)
        self._wait()

    def pause(self) -> None:
        for pid in self.pids:
            _send(pid, signal.SIGSTOP)

    def pause_when(self, holds: Callable[[], int]) -> int:
        """Stop it at a moment at which it `holds` something; returns how much."""

        def stopped() -> int:
            self.pause()
            held = holds()
            if not held:
                self.resume()
            return held

        held: int = wait_for(stopped, what=f"{self.name} to have something in its hands")
        return held

    def resume(self) -> None:
        for pid in self.pids:
            _send(pid, signal.SIGCONT)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, in order."""
        if self._process is not None and self.running:
            self._process.send_signal(number)
            self._wait()

    def said(self) -> str:
        """The end of its output, to tell why it does not do what it should."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(30)


def family(pid: int) -> list[int]:
    """`pid` and its descendants, also those in sessions of their own (PostgreSQL's)."""
    found = [pid]
    for each in found:
        found += _children(each)
    return found


def _children(pid: int) -> list[int]:
    """Those of all its threads; none of a thread or process that ends just now."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
