"""`make run` in a fresh clone until it is ready, against making a virtual environment and installing the same packages.

In turn, both with pip's cache as it is, so that the network is no part of it; a first installation fills the cache.
Goal: at most 1.5 times the installation. A second start in the same clone is shown too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks._setup import ROOT, show
from tests.ports import free_block, free_port

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PATIENCE_S = 300
# Nothing of this shell: a stranger's machine has no DATABASE_URL.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def main() -> None:
    with _clone() as folder:
        _install(folder)
    installed, cold, warm = [], [], []
    for _ in range(ROUNDS):
        with _clone() as folder:
            installed.append(_install(folder))
        with _clone() as folder:
            cold.append(_until_ready(folder))
            warm.append(_until_ready(folder))
    ratio = median(mine / other for mine, other in zip(cold, installed, strict=True))
    show(
        f"From a fresh clone to a running portal, {ROUNDS} rounds",
        [
            ("what", "seconds (median)", "all rounds", "make run / it"),
            _row("virtual environment and pip install", installed, f"{ratio:.2f}"),
            _row("make run until ready", cold, "1.00"),
            _row("make run again", warm, ""),
        ],
    )


def _row(name: str, found: list[float], ratio: str) -> tuple[str, ...]:
    return name, f"{median(found):.1f}", " ".join(f"{seconds:.1f}" for seconds in found), ratio


@contextmanager
def _clone() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), folder], check=True)
        yield Path(folder)


def _install(folder: Path) -> float:
    """Seconds for what `make run` installs, and nothing else."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", ".venv"], cwd=folder, env=ENVIRONMENT, check=True)
    command = [".venv/bin/python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*command, "-r", "requirements.txt"], cwd=folder, env=ENVIRONMENT, check=True)
    return time.monotonic() - began


def _until_ready(folder: Path) -> float:
    """Seconds until `make run` says that it is ready; it is ended then."""
    ports = {"PORT": str(free_port()), "SANDBOX_PORT": str(free_block())}
    began = time.monotonic()
    stack = subprocess.Popen(
        ["make", "run"],
        cwd=folder,
        env=ENVIRONMENT | ports,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert stack.stdout is not None
        said = []
        for line in stack.stdout:
            said.append(line)
            if line.startswith("ready "):
                return time.monotonic() - began
            if time.monotonic() - began > PATIENCE_S:
                break
        raise RuntimeError("make run did not become ready:\n" + "".join(said[-20:]))
    finally:
        os.killpg(stack.pid, signal.SIGTERM)
        stack.communicate(timeout=60)


if __name__ == "__main__":
    main()
