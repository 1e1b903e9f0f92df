"""Secrets the first start makes for itself: the Django secret key and the encryption key under `var/`."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet


def read_or_create_secret(path: Path) -> str:
    """The secret in `path`; a new random one is written (0600) when the file is not there."""
    return _read_or_create(path, lambda: secrets.token_urlsafe(50))


def read_or_create_key(path: Path) -> str:
    """The encryption key in `path`; the first start writes one and says to back it up apart from the database."""
    if not path.exists():
        print(f"wrote a new encryption key to {path}: back it up apart from the database", file=sys.stderr)  # noqa: T201
    return _read_or_create(path, lambda: Fernet.generate_key().decode())


def _read_or_create(path: Path, make: Callable[[], str]) -> str:
    # Several processes may start at once: each writes aside, the first link wins, all read the same file.
    if not path.exists():
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        aside.touch(mode=0o600)
        aside.write_text(make() + "\n")
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text().strip()
