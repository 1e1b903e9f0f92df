"""Host the residents without Celery, in the foreground."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal import collector
from portal.residents.host import ResidentHost, serve_until_stopped
from portal.residents.registry import registered


class Command(BaseCommand):
    help = "Runs the residents (dispatcher, scheduler, ...) until SIGTERM or Ctrl-C, without Celery."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--only", action="append", metavar="NAME", help="Run this one; may be repeated.")

    def handle(self, *args: Any, **options: Any) -> None:
        known = {resident.name: resident for resident in registered()}
        names = options["only"] or list(known)
        unknown = set(names) - set(known)
        if unknown:
            raise CommandError(f"No resident called {', '.join(sorted(unknown))}. There are: {', '.join(known)}.")
        host = ResidentHost([known[name] for name in names])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: host.stop())
        collector.spare_what_stays()
        serve_until_stopped(host)
