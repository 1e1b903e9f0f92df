"""The procedures of docs/operations.md, each run for real on a site of machines, with figures: as root,

    python -m tests.operations.rehearsal [upgrade] [join] [keys] [cut] [power] [restore] [--from COMMIT]

Takes some minutes. Real PostgreSQL that flushes, Redis, RabbitMQ and nginx with TLS by the files of deploy/. The portal
is what HEAD holds, not what lies uncommitted; an upgrade begins at `--from`, which has an older schema.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable
from typing import Any

import requests
from cryptography.fernet import Fernet

from tests.faults.ledger import Ledger
from tests.faults.traffic import Traffic
from tests.operations.join import join
from tests.operations.portal_machine import PortalMachine, git
from tests.operations.site import Site, standing_site
from tests.operations.site_traffic import SiteTown, log_in, say, timed, traffic_during
from tests.operations.upgrade import OLD, upgrade
from tests.sandbox_process import wait_for

WAITING_TEXTS = 40
LATER_TEXTS = 40
Change = Callable[[PortalMachine], None]


def keys(site: Site, town: SiteTown) -> None:
    """The encryption key in three steps, then SECRET_KEY, while texts go both ways."""
    old, new = site.environment["PORTAL_ENCRYPTION_KEYS"], Fernet.generate_key().decode()
    session = log_in(site, town)
    with traffic_during(town, "keys", every_s=0.5):
        for step, value in (("can be read", f"{old},{new}"), ("is written with", f"{new},{old}")):
            site.configure(PORTAL_ENCRYPTION_KEYS=value)
            with timed(f"the new key {step}"):
                for machine in site.portals:
                    machine.rolling_restart()
        with timed("rotatekeys"):
            print(site.manage("rotatekeys"))
        former = site.environment["SECRET_KEY"]
        another = "the second long random text of this rehearsal which nobody uses again"
        site.configure(PORTAL_ENCRYPTION_KEYS=new, SECRET_KEY=another, SECRET_KEY_FALLBACKS=former)
        with timed("the old key is gone, and SECRET_KEY is another"):
            for machine in site.portals:
                machine.rolling_restart()
        print(site.manage("check", "--database", "default"))
    answer = session.get(f"{site.url}/", timeout=30, allow_redirects=False)
    say("a staff session begun before", status=answer.status_code)
    assert answer.status_code == 200
    wrong = site.environment | {"PORTAL_ENCRYPTION_KEYS": old}
    refused = run_check(site, wrong)
    say("check with the old key alone", exit=refused)


def run_check(site: Site, environment: dict[str, str]) -> int:
    order = [sys.executable, "manage.py", "check", "--database", "default"]
    return subprocess.run(order, cwd=site.one.code, env=environment, capture_output=True, check=False).returncode


def scheduler(site: Site) -> str:
    found = site.rows("SELECT holder FROM portal_lease WHERE name = 'scheduler' AND deadline > now() AND holder <> ''")
    return str(found[0]["holder"]) if found else ""


def _machine_of(site: Site, holder: str) -> PortalMachine:
    pid = int(holder.split(":")[1])
    return next(each for each in site.portals if pid in each.programs["portal-residents"].pids)


def _fail_over(site: Site, town: SiteTown, name: str, strike: Change, mend: Change) -> None:
    """The machine whose scheduler holds the lease fails; the other one takes over."""
    holder = wait_for(lambda: scheduler(site), what="a scheduler")
    machine = _machine_of(site, holder)
    with traffic_during(town, name):
        began = time.monotonic()
        strike(machine)
        wait_for(lambda: scheduler(site) not in ("", holder), 60, "another scheduler")
        say(f"{name}: the scheduler is on the other machine", after_s=round(time.monotonic() - began, 1))
        began = time.monotonic()
        slowest, failed = 0.0, 0
        while time.monotonic() - began < 20:
            asked = time.monotonic()
            failed += not requests.get(f"{site.url}/healthz", timeout=70).ok
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.2)
        say(f"{name}: /healthz through nginx meanwhile", failed=failed, slowest_s=round(slowest, 2))
        mend(machine)
        site.wait_until_whole()


def cut(site: Site, town: SiteTown) -> None:
    """A machine's cable is pulled for half a minute."""
    _fail_over(site, town, "cut", lambda machine: machine.pull_the_cable(), lambda machine: machine.plug_the_cable())


def power(site: Site, town: SiteTown) -> None:
    """A machine loses its power."""
    _fail_over(site, town, "power", lambda machine: machine.lose_power(), lambda machine: machine.start_portal())


def restore(site: Site, town: SiteTown) -> None:
    """A backup, more texts, the database machine is lost with its disk, a restore into a new one."""
    traffic = Traffic(town, "before")
    try:
        Ledger(traffic).wait_until_whole(240)
        town.carrier.set(state="unavailable")
        device, line = town.lines[0].device, town.lines[0]
        send(town, device, "waiting", WAITING_TEXTS)
        with timed("portal-backup"):
            backup = site.run("deploy/bin/portal-backup", str(site.folder / "backups")).strip()
        size = sum(path.stat().st_size for path in (site.folder / "backups").rglob("*") if path.is_file())
        say("the backup", bytes=size, rows={table: count(site, table) for table in TABLES})
        town.carrier.set(state="up", latency_ms=0)
        send(town, device, "later", LATER_TEXTS)
        wait_for(lambda: len(taken(town)) == WAITING_TEXTS + LATER_TEXTS, 120, "all to be sent")
        wait_for(lambda: all(each.last == newest(site, key) for key, each in traffic.listeners.items()), what="streams")
        ahead = {key: each.last for key, each in traffic.listeners.items()}
        for machine in site.portals:
            machine.kill_portal()
        site.data.programs["postgres"].kill()
        began = time.monotonic()
        with timed("a new empty cluster"):
            site.build_database()
        with timed("portal-restore"):
            print(site.run("deploy/bin/portal-restore", backup))
        say("restored", rows={table: count(site, table) for table in TABLES})
        for machine in site.portals:
            machine.start_portal()
        wait_for(lambda: requests.get(f"{site.url}/healthz", timeout=30).ok, what="nginx")
        say("from the loss to the first answer", seconds=round(time.monotonic() - began, 1))
        site.wait_until_whole()
        print(site.manage("checkhooks"))
        settled = "SELECT status, count(*) AS n FROM cpaas_message WHERE text LIKE 'waiting %%' GROUP BY 1"
        wait_for(lambda: not any(row["status"] == "unknown" for row in site.rows(settled)), 120, "look-ups")
        say("texts that waited at the backup", **{row["status"]: row["n"] for row in site.rows(settled)})
        # A new text of each user: every stream starts over, then hears of it.
        for each in town.lines:
            send(town, each.device, f"after {each.user_id}", 1)
        wait_for(
            lambda: all(any("reset" in fault for fault in each.faults) for each in traffic.listeners.values()),
            what="resets",
        )
        wait_for(lambda: all(each.last > ahead[key] for key, each in traffic.listeners.items()), what="new events")
        twice = [text for text, times in Counter(row["text"] for row in taken(town, "")).items() if times > 1]
        say("carrier", taken=len(taken(town)), sent_twice=len(twice))
        say("streams", told_to_start_over=sum(len(each.faults) > 0 for each in traffic.listeners.values()))
        del line
    finally:
        traffic.close()


TABLES = ("cpaas_message", "cpaas_attempt", "portal_event", "portal_auditentry", "cpaas_webhookevent")


def count(site: Site, table: str) -> int:
    return int(site.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])


def newest(site: Site, user_id: str) -> int:
    return int(site.rows("SELECT last_id FROM portal_eventstream WHERE user_id = %s", user_id)[0]["last_id"])


def send(town: SiteTown, device: Any, name: str, texts: int) -> None:
    for n in range(texts):
        device.post("messages/", {"to": town.new_remote(), "text": f"{name} {n}"}, status=202)


def taken(town: SiteTown, *names: str) -> list[dict[str, Any]]:
    rows = town.carrier.control("GET", "inteliquent/messages/")["results"]
    wanted = names or ("waiting ", "later ")
    return [row for row in rows if row["text"].startswith(wanted)]


PROCEDURES = {"upgrade": upgrade, "join": join, "keys": keys, "cut": cut, "power": power, "restore": restore}


def main(names: list[str], old: str) -> None:
    shutil.rmtree("var/rehearsal", ignore_errors=True)
    names = names or list(PROCEDURES)
    with standing_site(git("rev-parse", old if "upgrade" in names else "HEAD")) as site:
        say("the site stands", load=os.getloadavg()[0], version=site.version)
        try:
            town = SiteTown(site)
            for name in names:
                with timed(f"== {name}"):
                    PROCEDURES[name](site, town)
                say("load", minutes_1_5_15=os.getloadavg())
        finally:
            skipped = shutil.ignore_patterns("postgres", "rabbitmq", "wire", "static", "portal", "portal-next")
            shutil.copytree(site.folder, "var/rehearsal", ignore=skipped, dirs_exist_ok=True)


if __name__ == "__main__":
    orders = ArgumentParser()
    orders.add_argument("procedures", nargs="*", choices=[*PROCEDURES, []], default=[])
    orders.add_argument("--from", dest="old", default=OLD, metavar="COMMIT")
    given = orders.parse_args()
    main(given.procedures, given.old)
