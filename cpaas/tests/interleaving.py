"""Two transactions that meet in a chosen order: one held open by the test, others in threads that wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection

from tests.sandbox_process import wait_for


class Beside:
    """A call in a thread with its own connection. `result` waits for its end and raises what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def result(self) -> Any:
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error
        finally:
            connection.close()


def wait_for_waiters(count: int = 1) -> None:
    """Until so many connections wait for a lock."""
    wait_for(lambda: _waiters() >= count, what=f"{count} waiting for a lock")


def _waiters() -> int:
    with connection.cursor() as cursor:
        # Inside a transaction the view would stay as it was at the first look.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])
