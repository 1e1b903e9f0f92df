"""`manage.py setaside`: webhook calls on this machine's disk that could not be taken in (R37)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cpaas import spool
from cpaas.models import CpaasPlatform


class Command(BaseCommand):
    help = (
        "Lists the webhook calls that this machine's spool set aside because they could not be taken in. Run it as the "
        "user of the portal, on each machine. The log says why each failed: spooled_webhook_not_taken."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument(
            "--show", metavar="FILE", help="Print the body of this call; it may hold the words of a text."
        )
        choice.add_argument("--retry", action="store_true", help="Take them in now. What fails stays. Safe to repeat.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["show"]:
            self._show(options["show"])
        elif options["retry"]:
            self._retry()
        else:
            self._list()

    def _list(self) -> None:
        found = spool.set_aside()
        for path in found:
            self.stdout.write(f"{path.name}  {_summary(path)}")
        self.stdout.write(f"{len(found)} set aside on this machine")

    def _show(self, name: str) -> None:
        path = next((path for path in spool.set_aside() if path.name == name), None)
        if path is None:
            raise CommandError(f"There is no {name}. Without --show the files are listed.")
        try:
            body = spool.read_set_aside(path).request.body
        except Exception as error:
            raise CommandError(f"It cannot be read: {spool.reason(error)}") from error
        self.stdout.write(body.decode("utf-8", "replace"))

    def _retry(self) -> None:
        try:
            for name, fault in spool.retry_set_aside():
                self.stdout.write(f"{name}  {fault or 'taken in'}")
        except spool.DATABASE_AWAY as error:
            raise CommandError("The database does not answer. Nothing is lost; try again later.") from error


def _summary(path: Path) -> str:
    try:
        waiting = spool.read_set_aside(path)
    except Exception as error:
        return f"cannot be read: {spool.reason(error)}"
    platform = CpaasPlatform.objects.filter(pk=waiting.platform_id).select_related("system_provider").first()
    whose = f"{platform.system_provider} · {platform}" if platform else "a platform that was deleted"
    return f"{waiting.received_at:%Y-%m-%d %H:%M:%S %Z}  {whose}  {len(waiting.request.body)} bytes"
