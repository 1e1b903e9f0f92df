"""`manage.py purge [--as-of ISO] [--dry-run]`: the retention purge, the same code as the daily task."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from cpaas.services.retention import purge
from portal import extensions


class Command(BaseCommand):
    help = "Remove messages older than the retention time; prints what was removed as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--as-of", help="Pretend that it is this time (ISO 8601).")
        parser.add_argument("--dry-run", action="store_true", help="Only count.")

    def handle(self, *args: Any, **options: Any) -> None:
        as_of = None
        if options["as_of"]:
            as_of = parse_datetime(options["as_of"])
            if as_of is None:
                raise CommandError("--as-of takes a time such as 2026-11-21T08:30:00Z.")
            if timezone.is_naive(as_of):
                as_of = timezone.make_aware(as_of)
        report = purge(as_of=as_of, dry_run=options["dry_run"]).as_dict()
        for further in extensions.purges:
            report |= further(as_of, options["dry_run"])
        self.stdout.write(json.dumps(report))
