"""`manage.py checkhooks`: set again the hooks that carriers lost or that lead to an old address (R44)."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cpaas.carriers.base import CarrierError
from cpaas.models import CpaasPlatform
from cpaas.services.hooks import set_missing_hooks


class Command(BaseCommand):
    help = (
        "Compares every enabled number with the hooks at its carrier and sets those that are missing or that lead to "
        "an old PORTAL_PUBLIC_URL. Run it after that address has changed. Safe to repeat."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="Ask again until they answer.")

    def handle(self, *args: Any, **options: Any) -> None:
        deadline = time.monotonic() + options["wait"]
        for platform in CpaasPlatform.objects.select_related("system_provider").order_by("id"):
            self._check(platform, deadline)

    def _check(self, platform: CpaasPlatform, deadline: float) -> None:
        while True:
            try:
                count = set_missing_hooks(platform)
            except CarrierError as error:
                if time.monotonic() < deadline:
                    time.sleep(0.2)
                    continue
                self.stderr.write(f"{platform.system_provider} · {platform}: {error.detail}")
                return
            if count:
                self.stdout.write(f"{platform.system_provider} · {platform}: {count} hooks set")
            return
