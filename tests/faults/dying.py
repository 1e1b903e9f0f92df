"""A program that does the same for several rows, the n-th in a process that is killed before its n-th word to the
database: so it dies once between any two of them.

    python -m tests.faults.dying replay|change|generate <id>...
    python -m tests.faults.dying create <login>...

It prints how each of them ended, one a line: -9 for killed, 0 for done before its n-th word.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

import django


def ends_of(what: str, keys: Iterable[object]) -> list[str]:
    """How this program ended for the rows with these ids, on the test database."""
    from django.conf import settings

    from tests.faults.web_process import database_url
    from tests.sandbox_process import ROOT

    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "PORTAL_ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "PORTAL_ALLOW_PRIVATE_URLS": "1",
        "DEBUG": "1",
    }
    command = [sys.executable, "-m", __name__, what, *map(str, keys)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=300, check=True
    )
    return [line for line in done.stdout.splitlines() if line in ("0", "-9")]


def main(what: str, keys: list[str]) -> None:
    django.setup()
    for step, key in enumerate(keys, 1):
        # A thread or a connection here would not live on in the fork: there is none yet.
        child = os.fork()
        if child == 0:
            _die_at(step, _WORKS[what](key))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")


def _die_at(step: int, work: Callable[[], object]) -> None:
    from django.db import connection

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
        work()


# --- What is done for a row: begun by the call, and then to be killed in ----------------------------------------------
def _replay(key: str) -> Callable[[], object]:
    """Of a dead letter."""
    from cpaas.models import WebhookEvent
    from cpaas.services.dead_letters import replay

    return lambda: replay(actor=None, call=WebhookEvent.objects.get(pk=key))


def _change(key: str) -> Callable[[], object]:
    """Of a user's XMPP password."""
    from portal.models import EndUser
    from xmpp.services.passwords import change_own_password

    user = EndUser.objects.select_related("group", "system_provider").get(pk=key)
    password = f"changed by {key}"
    return lambda: change_own_password(user=user, password=password, retype=password)


def _generate(key: str) -> Callable[[], object]:
    """The same by itself."""
    from portal.models import EndUser
    from xmpp.models import ImpAccount
    from xmpp.services.account_work import work_due_accounts
    from xmpp.services.passwords import ask_for_password

    user = EndUser.objects.select_related("group", "system_provider").get(pk=key)
    ask_for_password(user, ImpAccount.objects.get(pk=key))
    return work_due_accounts


def _create(key: str) -> Callable[[], object]:
    """Of a user of the only group, with the service and a password."""
    from portal.models import Group
    from portal.services.users import create_user

    group = Group.objects.select_related("system_provider").get()
    parts = {"integrated_imp": {"assigned": True, "enabled": True}, "imp_password": f"changed by {key}"}
    return lambda: create_user(actor=None, group=group, login=key, name=key, parts=parts)


_WORKS = {"replay": _replay, "change": _change, "generate": _generate, "create": _create}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
