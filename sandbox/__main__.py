"""`python -m sandbox --port 8100`."""

from __future__ import annotations

import argparse
import sys

from sandbox import cli


def main() -> None:
    parser = argparse.ArgumentParser(prog="sandbox", description="Simulators of the carriers and a mail sink.")
    cli.add_arguments(parser)
    options = parser.parse_args()
    try:
        cli.run(options.port, echo=options.echo, portal_url=options.portal_url)
    except (OSError, ValueError) as error:
        sys.exit(f"The sandbox cannot start: {error}")


main()
