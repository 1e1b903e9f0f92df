"""A program that replays dead letters, the n-th in a process that is killed right before its n-th word to the database.

    python -m tests.faults.dying_replays <id of a dead letter>...

It prints how each of them ended, one a line: -9 for killed, 0 for done before its n-th word.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

import django


def main(keys: list[str]) -> None:
    django.setup()
    for step, key in enumerate(keys, 1):
        # A thread or a connection here would not live on in the fork: there is none yet.
        child = os.fork()
        if child == 0:
            _replay(key, step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")


def _replay(key: str, step: int) -> None:
    from django.db import connection

    from cpaas.models import WebhookEvent
    from cpaas.services.dead_letters import replay

    words = itertools.count(1)

    def speak() -> None:
        if next(words) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(execute: Any, *arguments: Any) -> Any:
        speak()
        return execute(*arguments)

    commit = connection.commit

    def before_commit() -> None:
        speak()
        commit()

    connection.commit = before_commit  # type: ignore[method-assign]
    with connection.execute_wrapper(before):
        replay(actor=None, call=WebhookEvent.objects.get(pk=key))


if __name__ == "__main__":
    main(sys.argv[1:])
