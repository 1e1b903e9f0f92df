"""A program that changes XMPP passwords, the n-th in a process that is killed before its n-th word to the database.

    python -m tests.faults.dying_changes change|generate <id of a user>...

It prints how each of them ended, one a line: -9 for killed, 0 for done before its n-th word.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

import django


def main(how: str, keys: list[str]) -> None:
    django.setup()
    for step, key in enumerate(keys, 1):
        # A thread or a connection here would not live on in the fork: there is none yet.
        child = os.fork()
        if child == 0:
            _change(how, key, step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")


def _change(how: str, key: str, step: int) -> None:
    from django.db import connection

    from portal.models import EndUser
    from xmpp.models import ImpAccount
    from xmpp.services.account_work import work_due_accounts
    from xmpp.services.passwords import ask_for_password, change_own_password

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

    user = EndUser.objects.select_related("group", "system_provider").get(pk=key)
    if how == "generate":
        ask_for_password(user, ImpAccount.objects.get(pk=key))
    connection.commit = before_commit  # type: ignore[method-assign]
    with connection.execute_wrapper(before):
        if how == "generate":
            work_due_accounts()
        else:
            password = f"changed by {key}"
            change_own_password(user=user, password=password, retype=password)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
