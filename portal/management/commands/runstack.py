"""The whole portal with one command: database, demo data, web, workers and the simulated outside world."""

from __future__ import annotations

import os
import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

# The sandbox takes the 26 ports from its own on (contracts, section 1); its mail server is the last.
MAIL_OFFSET = 25


class Command(BaseCommand):
    help = "Runs web, workers, scheduler, residents and the sandbox in the foreground, with DEBUG on. Ctrl-C ends all."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-demo", action="store_true", help="Do not load the demo data.")
        parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000))
        parser.add_argument("--sandbox-port", type=int, default=int(os.environ.get("SANDBOX_PORT") or 8100))

    def handle(self, *args: Any, **options: Any) -> None:
        port, sandbox_port = options["port"], options["sandbox_port"]
        environment = stack_environment(port, sandbox_port)
        if any(os.environ.get(name) != value for name, value in environment.items()):
            # The settings are read already: start over with those of the stack.
            os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606
        for wanted in (port, sandbox_port, sandbox_port + MAIL_OFFSET):
            require_free(wanted)
        call_command("migrate", interactive=False, verbosity=0)
        if "DatabaseCache" in settings.CACHES["default"]["BACKEND"]:
            call_command("createcachetable", verbosity=0)
        if not options["no_demo"]:
            call_command("loaddemo")
        sys.stdout.flush()
        # From here on a supervisor without Django: the memory of this process is given back.
        command = [sys.executable, "-m", "portal.stack", "--port", str(port), "--sandbox-port", str(sandbox_port)]
        os.execve(sys.executable, command, environment)  # noqa: S606


def stack_environment(port: int, sandbox_port: int) -> dict[str, str]:
    """The environment of everything in the stack. What the operator set stays; the ports are those of this run."""
    defaults = {
        "PORTAL_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "EMAIL_URL": f"smtp://127.0.0.1:{sandbox_port + MAIL_OFFSET}",
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
        # Threads share two heaps instead of up to eight a core each.
        "MALLOC_ARENA_MAX": "2",
    }
    return defaults | os.environ | {"DEBUG": "1", "PORT": str(port), "SANDBOX_PORT": str(sandbox_port)}


def require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            hint = "Choose others with PORT= and SANDBOX_PORT= (or --port and --sandbox-port)."
            raise CommandError(f"Port {port} is not free ({error.strerror}). {hint}") from error
