"""An upgrade, as docs/operations.md has it: old code goes on beside a new schema, then beside new code."""

from __future__ import annotations

import re
import time
from collections import Counter

import requests

from tests.operations.portal_machine import PortalMachine, git
from tests.operations.site import Site
from tests.operations.site_traffic import SiteTown, SteadyTraffic, log_in, say, timed, traffic_during

# Its schema is three migrations older: indexes built, renamed and dropped, a unique column that no longer is.
OLD = "104daed7ad5a076c19c3f02b129a273c6657c0cd"
# How long each mixture of versions is watched.
WATCHED_S = 15


def upgrade(site: Site, town: SiteTown) -> None:
    new = git("rev-parse", "HEAD")
    session = log_in(site, town)
    with traffic_during(town, "upgrade") as traffic:
        _watch(site, session, traffic, "old code, old schema")
        with timed("the new code beside the old, and what is new in its schema", traffic):
            beside = site.one.check_out_beside(new)
            missing = re.findall(r"^\[ \]  (\S+)", site.manage("showmigrations", "--plan", code=beside), re.MULTILINE)
        assert missing, f"{site.version} has the schema of {new}: nothing to rehearse"
        with timed("migrate", traffic):
            site.manage("migrate", "--verbosity", "0", code=beside)
        say("the schema is new", migrations=missing)
        _watch(site, session, traffic, "old code, new schema")
        for machine in site.portals:
            _renew(site, machine, new, traffic)
            _watch(site, session, traffic, f"new code on {machine.name}")
        with timed("the work tree beside is gone", traffic):
            site.one.remove_beside(beside)
    site.version = new
    site.wait_until_whole()


def _renew(site: Site, machine: PortalMachine, version: str, traffic: SteadyTraffic) -> None:
    with timed(f"code, static files and units on {machine.name}", traffic):
        machine.check_out(version)
        site.install(machine)
    with timed(f"portal-restart on {machine.name}", traffic):
        machine.rolling_restart()


def _watch(site: Site, session: requests.Session, traffic: SteadyTraffic, title: str) -> None:
    """Staff go through the pages that the first one leads to, while the texts go on."""
    answers: Counter[int] = Counter()
    with timed(title, traffic):
        end = time.monotonic() + WATCHED_S
        while time.monotonic() < end:
            front = session.get(f"{site.url}/", timeout=30)
            answers[front.status_code] += 1
            for path in sorted(set(re.findall(r'href="(/[a-z][a-z/]*/)"', front.text)) - {"/logout/"}):
                answers[session.get(f"{site.url}{path}", timeout=30).status_code] += 1
    say(f"{title}: pages of staff", **{str(status): times for status, times in answers.items()})
