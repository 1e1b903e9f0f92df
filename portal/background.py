"""Starting a task soon: a hint to the workers after commit. The row in its state gets the work done (rule 3)."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from portal.logs import get_logger

logger = get_logger(__name__)
_silent_until = 0.0


def run_soon(task: str) -> None:
    """After commit, ask a worker to run the task named `task`. With the broker away the schedule gets to it."""
    transaction.on_commit(lambda: _send(task), robust=True)


def few_at_once(most: int) -> Callable[[Callable[[], int]], Callable[[], int]]:
    """Decorates work that goes on until nothing is due and may wait for others for long. At more than `most` places of
    a process it does nothing and returns 0, so that a worker's other threads stay free for other work."""

    def decorate(work: Callable[[], int]) -> Callable[[], int]:
        places = threading.BoundedSemaphore(most)

        @functools.wraps(work)
        def wrapped() -> int:
            if not places.acquire(blocking=False):
                return 0
            try:
                return work()
            finally:
                places.release()

        return wrapped

    return decorate


def _send(task: str) -> None:
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    try:
        current_app.send_task(task, retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        # Do not make every request wait for a dead broker.
        _silent_until = time.monotonic() + 5
        logger.warning("task_not_queued", task=task, error=type(error).__name__)
