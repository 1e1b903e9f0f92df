"""A third machine joins a site that is at work and leaves it again, as docs/operations.md has it."""

from __future__ import annotations

import re
import time
from collections import Counter

from tests.faults.listeners import Listener
from tests.operations.portal_machine import WEB, WORKERS
from tests.operations.site import Site
from tests.operations.site_traffic import SiteTown, say, timed, traffic_during
from tests.sandbox_process import wait_for

# How long three machines serve.
SHARED_S = 30
# The last upstream is the one that answered.
_SERVED = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+)" (?P<status>\d+) .*?(?P<address>[\d.]+):\d+ \S+$')


def join(site: Site, town: SiteTown) -> None:
    third = site.third
    with traffic_during(town, "join") as traffic:
        with timed("the portal, portal.env, static files and units on a new machine", traffic):
            third.check_out(site.version)
            site.install(third)
        with timed("its units, until each is ready", traffic):
            third.start_portal()
            wait_for(third.is_ready, 120, "the third machine")
        site.portals.append(third)
        with timed("nginx with its ports", traffic):
            site.reload_edge()
        with timed("the whole site", traffic):
            site.wait_until_whole()
        before = _lines(site)
        # Streams that were open stay where they are; new ones are spread over all.
        newcomers = [Listener(line.device) for line in town.lines]
        with timed("three machines", traffic):
            time.sleep(SHARED_S)
        say("three machines: answers", **_answers(site, before))
        site.portals.remove(third)
        with timed("nginx without its ports", traffic):
            site.reload_edge()
        gone = _lines(site)
        with timed("its web processes end, then, with nothing in the spool, its workers", traffic):
            for name in WEB:
                third.programs[name].end()
            wait_for(lambda: not third.spooled(), 120, "the spool to be empty")
            for name in WORKERS:
                third.programs[name].end()
        with timed("two machines", traffic):
            site.wait_until_whole()
            time.sleep(SHARED_S / 3)
        say("two machines: answers", **_answers(site, gone))
        moved = sum(each.connections - 1 for each in newcomers)
        say("streams opened while there were three", moved=moved, faults=[each.faults for each in newcomers])
        assert moved, "no stream was on the third machine"
        assert not any(each.faults for each in newcomers)
        for each in newcomers:
            each.close()
    assert not third.spooled()


def _lines(site: Site) -> int:
    return len(_log(site))


def _log(site: Site) -> list[str]:
    return (site.edge.folder / "portal.log").read_text().splitlines()


def _answers(site: Site, after: int) -> dict[str, dict[str, int]]:
    """Who answered what that nginx passed on since that line of its log."""
    names = {machine.address: machine.name for machine in (site.one, site.two, site.third)}
    counted: dict[str, Counter[str]] = {"webhooks": Counter(), "other": Counter(), "status": Counter()}
    for line in _log(site)[after:]:
        if found := _SERVED.search(line):
            kind = "webhooks" if found["path"].startswith("/webhooks/") else "other"
            counted[kind][names[found["address"]]] += 1
            counted["status"][found["status"]] += 1
    return {kind: dict(counter) for kind, counter in counted.items()}
