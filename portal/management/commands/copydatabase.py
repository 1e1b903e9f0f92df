"""`manage.py copydatabase sqlite:////var/lib/portal/portal.sqlite3`: move into the database of DATABASE_URL."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

import environ
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from portal.problems import Problem
from portal.services import copying, restoring

SOURCE = "source"


class Command(BaseCommand):
    help = (
        "Copies every row of another database, such as the SQLite file of a small installation, into the empty, "
        "migrated one of DATABASE_URL, then compares counts and checksums. Stop everything first. The encryption keys "
        "must be those of the source."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", metavar="URL", help="sqlite:////path/portal.sqlite3 or postgres://…")

    def handle(self, *args: Any, **options: Any) -> None:
        connections.databases[SOURCE] = connections["default"].settings_dict | {
            "OPTIONS": {},
            "CONN_MAX_AGE": 0,
            **environ.Env.db_url_config(options["source"]),
        }
        began = time.monotonic()
        try:
            restoring.require_stopped(SOURCE)
            copying.require_empty("default")
            for table, count in copying.copy_everything(SOURCE, "default"):
                if count:
                    self.stdout.write(f"{table}: {count} rows")
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self._compare()
        self.stdout.write(f"copied and compared in {time.monotonic() - began:.1f} s")

    def _compare(self) -> None:
        different = [
            model._meta.db_table
            for model in copying.models_to_copy()
            if copying.checksum(model, SOURCE) != copying.checksum(model, "default")
        ]
        if different:
            raise CommandError(f"These tables differ, was anything running? {', '.join(different)}")
