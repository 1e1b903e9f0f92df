"""Create the first operator and print a staff API token (contracts, section 1)."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.problems import Problem
from portal.services.accounts import create_operator
from portal.services.tokens import issue_staff_token


class Command(BaseCommand):
    help = (
        "Creates the first operator, with the password in PORTAL_BOOTSTRAP_PASSWORD, and prints a staff API token as "
        '{"token": "..."}. Safe to repeat: an operator of that name is kept as it is and gets one more token.'
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", required=True)
        parser.add_argument("--email", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        password = os.environ.get("PORTAL_BOOTSTRAP_PASSWORD", "")
        if not password:
            raise CommandError("Set PORTAL_BOOTSTRAP_PASSWORD to the operator's password.")
        try:
            account = create_operator(username=options["username"], email=options["email"], password=password)
            token = issue_staff_token(account=account, name="bootstrap")
        except Problem as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(json.dumps({"token": token.plain}))
