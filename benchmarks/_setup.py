"""What the benchmarks share: Django on the private database, servers as processes, a table at the end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def prepare() -> None:
    """Django set up and migrated on DATABASE_URL (scripts/with-services gives an empty one), DEBUG off."""
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        sys.exit("Run this through `make bench`: it needs a private PostgreSQL and Redis.")
    os.environ.setdefault("PORTAL_VAR_DIR", tempfile.mkdtemp(prefix="portal-bench-"))
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "SECRET_KEY": "benchmark-only-secret-key-that-is-long-enough-to-pass",
        "PORTAL_ALLOW_PRIVATE_URLS": "1",
        "LOG_LEVEL": "WARNING",
    }
    import django

    django.setup()
    from django.conf import settings

    # The passwords of hundreds of users are not what is measured.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


@contextmanager
def process(*command: str, port: int | None = None, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in its own group, waited for until `port` listens, ended with the block."""
    started = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        if port is not None:
            wait_for_port(port)
        yield started
    finally:
        os.killpg(started.pid, 15)
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, 9)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


def show(title: str, rows: list[tuple[str, ...]]) -> None:
    """A markdown table; the first row is the head."""
    print(f"\n## {title}\n")
    for index, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if index == 0:
            print("|" + "---|" * len(row))
    print(f"\nload average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
