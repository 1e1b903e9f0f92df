"""The procedures of docs/operations.md, each run for real on a site of machines, with figures: as root,

    python -m tests.operations.rehearsal [upgrade] [keys] [cut] [power] [restore]

Takes some minutes. Real PostgreSQL that flushes, Redis, RabbitMQ and nginx with TLS by the files of deploy/.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from cryptography.fernet import Fernet

from tests.e2e.clients import Api, staff_api
from tests.e2e.world import Carrier, Tenant
from tests.faults.ledger import Ledger
from tests.faults.traffic import USERS, Arriving, Sending, Town, Traffic
from tests.operations.machines import HERE
from tests.operations.site import Site, standing_site
from tests.sandbox_process import wait_for

WAITING_TEXTS = 40
LATER_TEXTS = 40


class HouseCarrier(Carrier):
    """The carrier as the machines reach it."""

    @property
    def options(self) -> dict[str, str]:
        return {name: url.replace("127.0.0.1", HERE) for name, url in super().options.items()}


class SiteTown(Town):
    """A tenant whose users text through nginx."""

    def __init__(self, site: Site) -> None:
        self.stage = site  # type: ignore[assignment]
        self.carrier = HouseCarrier(site.sandbox_port)
        operator = staff_api(site.url, site.operator_token())
        self.tenant = Tenant(site, operator, self.carrier)  # type: ignore[arg-type]
        self.platform = self.tenant.platform(options={**self.carrier.options, "per_number_per_minute": 100_000})
        self.lines = [self._line(n) for n in range(USERS)]
        self._remotes = itertools.count()


class SteadyTraffic(Traffic):
    """One text each way every so many seconds, for as long as a procedure takes."""

    def __init__(self, town: Town, name: str, *, every_s: float, lasts_s: float) -> None:
        self._every_s = every_s
        super().__init__(town, name, int(lasts_s / every_s))

    def _await_turn(self, text: str) -> None:
        due = self.began_at + int(text.rpartition(" ")[2]) * self._every_s
        time.sleep(max(0.0, due - time.monotonic()))

    def _try(self, api: Api, sending: Sending) -> None:
        self._await_turn(sending.text)
        super()._try(api, sending)

    def _call_in(self, arriving: Arriving) -> None:
        self._await_turn(arriving.text)
        super()._call_in(arriving)


def say(title: str, **figures: Any) -> None:
    print(f"{time.strftime('%H:%M:%S')} {title}: {json.dumps(figures, default=str)}", flush=True)


@contextmanager
def timed(title: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(title, seconds=round(time.monotonic() - began, 1))


@contextmanager
def traffic_during(town: Town, name: str, *, every_s: float = 0.25, lasts_s: float = 60) -> Iterator[Traffic]:
    """Texts both ways and open streams while the block runs; afterwards the ledger must balance."""
    traffic = SteadyTraffic(town, name, every_s=every_s, lasts_s=lasts_s)
    try:
        wait_for(lambda: len(traffic.taken()) >= 10, what="the first texts")
        traffic.struck_at = time.monotonic()
        yield traffic
        say(f"{name}: all answered before the end of it", ended=traffic.answered)
        ledger = Ledger(traffic)
        ledger.wait_until_whole(240)
        for machine in (town.stage.one, town.stage.two):  # type: ignore[attr-defined]
            assert not list(machine.folder.glob("spool/*.call"))
        answers = Counter(
            str(row["http_status"] or row["error"]) for each in traffic.arrivals for row in each.deliveries
        )
        slowest = max(row["elapsed_ms"] for each in traffic.arrivals for row in each.deliveries)
        stored = {row["text"] for row in ledger.texts()}
        lost = [each.text for each in (*traffic.sendings, *traffic.arrivals) if each.text not in stored]
        twice = [text for text, times in Counter(row["text"] for row in traffic.taken()).items() if times > 1]
        say(
            name, **ledger.figures(), lost=len(lost), sent_twice=len(twice), webhook_answers=answers, slowest_ms=slowest
        )
    finally:
        traffic.close()


def upgrade(site: Site, town: Town) -> None:
    """Every process of both machines anew, one after the other."""
    with traffic_during(town, "upgrade", lasts_s=160):
        site.manage("migrate", "--verbosity", "0")
        for machine in (site.one, site.two):
            with timed(f"portal-restart on {machine.name}"):
                print(site.rolling_restart(machine))


def keys(site: Site, town: Town) -> None:
    """The encryption key in three steps, then SECRET_KEY, while texts go both ways."""
    old, new = site.environment["PORTAL_ENCRYPTION_KEYS"], Fernet.generate_key().decode()
    session = log_in(site, town)
    with traffic_during(town, "keys", every_s=0.5, lasts_s=330):
        for step, value in (("can be read", f"{old},{new}"), ("is written with", f"{new},{old}")):
            site.configure(PORTAL_ENCRYPTION_KEYS=value)
            with timed(f"the new key {step}"):
                for machine in (site.one, site.two):
                    site.rolling_restart(machine)
        with timed("rotatekeys"):
            print(site.manage("rotatekeys"))
        former = site.environment["SECRET_KEY"]
        another = "the second long random text of this rehearsal, which nobody uses again"
        site.configure(PORTAL_ENCRYPTION_KEYS=new, SECRET_KEY=another, SECRET_KEY_FALLBACKS=former)
        with timed("the old key is gone, and SECRET_KEY is another"):
            for machine in (site.one, site.two):
                site.rolling_restart(machine)
        print(site.manage("check", "--database", "default"))
    answer = session.get(f"{site.url}/", timeout=30, allow_redirects=False)
    say("a staff session begun before", status=answer.status_code)
    wrong = site.environment | {"PORTAL_ENCRYPTION_KEYS": old}
    refused = run_check(site, wrong)
    say("check with the old key alone", exit=refused)


def run_check(site: Site, environment: dict[str, str]) -> int:
    order = [sys.executable, "manage.py", "check", "--database", "default"]
    return subprocess.run(order, env=environment, capture_output=True, check=False).returncode


def log_in(site: Site, town: Town) -> requests.Session:
    session = requests.Session()
    page = session.get(f"{site.url}/login/", timeout=30)
    token = session.cookies["csrftoken"]
    form = {
        "username": town.tenant.administrator["username"],
        "password": "correct horse battery",
        "csrfmiddlewaretoken": token,
    }
    answer = session.post(f"{site.url}/login/", data=form, headers={"Referer": page.url}, timeout=30)
    assert "/login/" not in answer.url, answer.text[:300]
    return session


def scheduler(site: Site) -> str:
    found = site.rows("SELECT holder FROM portal_lease WHERE name = 'scheduler' AND deadline > now() AND holder <> ''")
    return str(found[0]["holder"]) if found else ""


def _machine_of(site: Site, holder: str) -> Any:
    pid = int(holder.split(":")[1])
    return next(each for each in (site.one, site.two) if pid in each.programs["portal-residents"].pids)


def _fail_over(site: Site, town: Town, name: str, strike: Callable[[Any], None], mend: Callable[[Any], None]) -> None:
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


def cut(site: Site, town: Town) -> None:
    """A machine's cable is pulled for half a minute."""
    _fail_over(site, town, "cut", lambda machine: machine.pull_the_cable(), lambda machine: machine.plug_the_cable())


def power(site: Site, town: Town) -> None:
    """A machine loses its power."""
    _fail_over(site, town, "power", lambda machine: machine.lose_power(), site.start_portal)


def restore(site: Site, town: Town) -> None:
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
        for machine in (site.one, site.two):
            site.kill_portal(machine)
        site.data.programs["postgres"].kill()
        began = time.monotonic()
        with timed("a new empty cluster"):
            site.build_database()
        with timed("portal-restore"):
            print(site.run("deploy/bin/portal-restore", backup))
        say("restored", rows={table: count(site, table) for table in TABLES})
        for machine in (site.one, site.two):
            site.start_portal(machine)
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


def send(town: Town, device: Any, name: str, texts: int) -> None:
    for n in range(texts):
        device.post("messages/", {"to": town.new_remote(), "text": f"{name} {n}"}, status=202)


def taken(town: Town, *names: str) -> list[dict[str, Any]]:
    rows = town.carrier.control("GET", "inteliquent/messages/")["results"]
    wanted = names or ("waiting ", "later ")
    return [row for row in rows if row["text"].startswith(wanted)]


PROCEDURES = {"upgrade": upgrade, "keys": keys, "cut": cut, "power": power, "restore": restore}


def main(names: list[str]) -> None:
    shutil.rmtree("var/rehearsal", ignore_errors=True)
    with standing_site() as site:
        say("the site stands", load=os.getloadavg()[0])
        try:
            town = SiteTown(site)
            for name in names or PROCEDURES:
                with timed(f"== {name}"):
                    PROCEDURES[name](site, town)
        finally:
            skipped = shutil.ignore_patterns("postgres", "rabbitmq", "wire", "static")
            shutil.copytree(site.folder, "var/rehearsal", ignore=skipped, dirs_exist_ok=True)


if __name__ == "__main__":
    main(sys.argv[1:])
