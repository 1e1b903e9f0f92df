"""How long a database test takes: a user is made, logs in, asks the API, and staff see them in the list.

400 such tests of the portal, with its settings, conftest and factories (_test_time/portal_tests.py), and in turn 400
of the same steps on plain Django (plain_tests.py: its own users and admin, DRF's tokens), on PostgreSQL and with MD5
for passwords, in one process and, as the suite runs, in two. Goal: at most 30 ms a test, without the making of the
test database.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks._setup import ROOT, show

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
TESTS = int(os.environ.get("BENCH_TESTS", "400"))
GOAL_MS = 30
FOLDER = "benchmarks/_test_time"
PORTAL = [f"{FOLDER}/portal_tests.py"]
# Nothing of the portal: neither its pytest.ini nor its conftest.py.
PLAIN = ["-c", "/dev/null", f"--rootdir={ROOT}", f"--confcutdir={FOLDER}", "-q", "-p", "no:cacheprovider"]
PLAIN += [f"--ds={FOLDER.replace('/', '.')}.plain_settings", f"{FOLDER}/plain_tests.py"]


def main() -> None:
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        sys.exit("Run this through `make bench`: it needs a private PostgreSQL and Redis.")
    rows = []
    for processes in (1, 2):
        portal, plain = [], []
        for _ in range(ROUNDS):
            portal.append(_run(PORTAL, processes))
            plain.append(_run(PLAIN, processes))
        ratio = median(seconds for seconds, _ in portal) / median(seconds for seconds, _ in plain)
        rows.append(_row("the portal", processes, portal, "1.00", str(GOAL_MS)))
        rows.append(_row("plain Django", processes, plain, f"{ratio:.2f}", ""))
    show(
        f"{TESTS} database tests, {ROUNDS} rounds",
        [("tests of", "processes", "ms a test", "all rounds", "with all around them", "portal / it", "goal"), *rows],
    )


def _run(arguments: list[str], processes: int) -> tuple[float, float]:
    """Seconds for the tests alone, and for the whole command: start, test database, tests, its end."""
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as folder:
        times = Path(folder) / "times"
        times.mkdir()
        environment = os.environ | {"BENCH_TIMES": str(times), "BENCH_TESTS": str(TESTS), "PORTAL_VAR_DIR": folder}
        command = [sys.executable, "-m", "pytest", *arguments, *(["-n", str(processes)] if processes > 1 else [])]
        began = time.perf_counter()
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        whole = time.perf_counter() - began
        if ended.returncode or f"{TESTS} passed" not in ended.stdout:
            sys.exit(ended.stdout[-2000:] + ended.stderr[-2000:])
        return max(float(each.read_text()) for each in times.iterdir()), whole


def _row(name: str, processes: int, found: list[tuple[float, float]], ratio: str, goal: str) -> tuple[str, ...]:
    alone, whole = ([each[part] * 1000 / TESTS for each in found] for part in (0, 1))
    rounds = " ".join(f"{each:.1f}" for each in alone)
    return name, str(processes), f"{median(alone):.1f}", rounds, f"{median(whole):.1f}", ratio, goal


if __name__ == "__main__":
    main()
