"""`manage.py sandbox --port 8100`: the simulators of the outside world. Needs no database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandbox import cli


class Command(BaseCommand):
    help = "Simulators of the carriers and a mail sink, on the loopback interface only."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            cli.run(options["port"], echo=options["echo"], portal_url=options["portal_url"])
        except (OSError, ValueError) as error:
            raise CommandError(f"The sandbox cannot start: {error}") from None
