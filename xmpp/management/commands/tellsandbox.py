"""`manage.py tellsandbox`: the sandbox's BroadWorks, which remembers nothing, gets the demo's users again."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from xmpp.demo.broadworks import tell_sandbox


class Command(BaseCommand):
    help = "Makes the demo's users in the BroadWorks that the sandbox simulates. Without demo data it does nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="Ask again until it answers.")
        parser.add_argument(
            "--sandbox-port",
            type=int,
            default=int(os.environ.get("SANDBOX_PORT") or 8100),
            help="Where the sandbox listens (default: SANDBOX_PORT, else 8100).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if tell_sandbox(options["sandbox_port"], options["wait"]) and options["verbosity"] > 1:
            self.stdout.write("The sandbox's BroadWorks has the demo's users.")
