"""`manage.py afterrestore`: a database put back from a backup neither sends twice nor confuses clients."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from cpaas.services.restoring import discard_strays, doubt_waiting_texts
from portal.problems import Problem
from portal.services.restoring import leap_event_numbers, require_stopped


class Command(BaseCommand):
    help = (
        "Run it once after a restore and before anything is started. What was waiting to be sent becomes `unknown`: it "
        "may have gone out after the backup, so the carrier is asked and nothing is sent twice. Clients are told to "
        "fetch their lists anew; files that came after the backup are removed. Afterwards start everything, then run "
        "checkhooks. Safe to repeat."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            require_stopped()
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"{doubt_waiting_texts()} waiting texts are unknown now, the carrier will be asked")
        self.stdout.write(f"{discard_strays()} files that came after the backup are removed")
        self.stdout.write(f"{leap_event_numbers()} event streams start over")
