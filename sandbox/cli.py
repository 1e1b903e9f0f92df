"""The command line, the same for `manage.py sandbox` and `python -m sandbox`."""

from __future__ import annotations

import argparse
import asyncio
import signal

from sandbox.app import LAST_PORT, MAIL_PORT_OFFSET, Sandbox
from sandbox.store import World

DEFAULT_PORT = 8100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="first of the 26 ports (default %(default)s): all simulators"
    )
    parser.add_argument(
        "--echo", action=argparse.BooleanOptionalAction, default=False, help="a text sent comes back as a reply"
    )
    parser.add_argument("--portal-url", default=World().portal_url, help="the portal's address, for relative hooks")


def run(port: int, *, echo: bool, portal_url: str) -> None:
    """Serve until SIGINT or SIGTERM. Raises OSError when a port is taken, ValueError when there is no such port."""
    if not 0 < port <= LAST_PORT - MAIL_PORT_OFFSET:
        raise ValueError(f"The port must lie between 1 and {LAST_PORT - MAIL_PORT_OFFSET}.")
    asyncio.run(_serve(Sandbox(port, World(echo=echo, portal_url=portal_url))))


async def _serve(sandbox: Sandbox) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await sandbox.start()
    print(f"sandbox ready {sandbox.url}", flush=True)  # noqa: T201 - what a caller waits for
    await ended.wait()
    await sandbox.stop()
