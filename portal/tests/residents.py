"""Parts for tests of residents: hosts on threads, waiting for a state, and the address of the test database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import uvloop
from django.db import connection

from portal.residents import Resident
from portal.residents.host import ResidentHost

T = TypeVar("T")
PATIENCE_S = 120


def eventually(look: Callable[[], T], what: str = "") -> T:
    """What `look` returns as soon as it is true. Fails after two minutes."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"did not happen: {what or look}")


@contextmanager
def hosting(*residents: type[Resident]) -> Iterator[ResidentHost]:
    """A host of these residents on a thread, ended in order."""
    host = ResidentHost(residents)
    # On the loop that production has.
    thread = threading.Thread(target=lambda: uvloop.run(host.serve()))
    thread.start()
    try:
        yield host
    finally:
        host.stop()
        thread.join()


def database_url_of_test() -> str:
    """DATABASE_URL for a process that shall use the database of this test."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    return f"postgres://{values['USER']}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
