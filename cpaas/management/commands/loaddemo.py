"""`manage.py loaddemo`: two invented tenants with accounts, users, numbers and conversations (contracts, section 1)."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from cpaas.demo.directories import load_directories
from cpaas.demo.logins import staff_logins, table, write_logins
from cpaas.demo.numbers import load_messaging
from cpaas.demo.tenants import Tenants
from cpaas.demo.trouble import load_trouble
from cpaas.services.traffic import count_unsettled
from portal import extensions
from portal.problems import Problem


class Command(BaseCommand):
    help = (
        "Loads the demo data and writes the logins to var/demo.json. Safe to repeat: what is there stays, what was "
        "deleted comes back, passwords are the documented ones again and the API tokens are new."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--force", action="store_true", help="Also without DEBUG. The passwords are public.")
        parser.add_argument(
            "--sandbox-port",
            type=int,
            default=int(os.environ.get("SANDBOX_PORT") or 8100),
            help="Where the simulated carrier listens (default: SANDBOX_PORT, else 8100).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not (settings.DEBUG or options["force"]):
            raise CommandError("Demo logins have public passwords. Set DEBUG=1, or use --force if you mean it.")
        tenants = Tenants()
        try:
            tenants.load()
            # Before the rest, so that the audit trail does not begin with two pages of tokens.
            staff = staff_logins(tenants)
            load_directories(tenants)
            load_messaging(tenants, options["sandbox_port"])
            load_trouble(tenants)
            users = {user.login: user for user in tenants.users.values()}
            for load_part in extensions.demo_parts:
                load_part(users, options["sandbox_port"])
            count_unsettled()
        except Problem as problem:
            raise CommandError(f"The demo data cannot be put beside what is there: {problem.detail}") from problem
        self.stdout.write(table(write_logins(tenants, staff, options["sandbox_port"])))
