"""Workers that keep XMPP accounts online, people who write to these from outside, and what became of every text."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connections

from portal.models import EndUser, Group, Lease
from portal.residents.leases import living
from portal.tests.factories import EndUserFactory, GroupFactory
from tests.faults.programs import Program
from tests.faults.web_process import database_url, wait_until_alone
from tests.prosody import Prosody
from tests.sandbox_process import wait_for
from tests.stack_process import own_broker
from tests.xmpp_peer import UcOne
from xmpp.models import ImMessage, ImpAccount, XmppDelivery
from xmpp.services.ownership import LEASE_PREFIX
from xmpp.services.routing import Route
from xmpp.services.sending import send_to
from xmpp.states import AccountStatus
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory

PATIENCE_S = 120
CELERY = ["-m", "celery", "-q", "-A", "portal.celery", "worker", "-P", "threads", "-c", "1", "--residents"]
CELERY += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO", "-n"]


def make_accounts(server: Prosody, count: int) -> list[ImpAccount]:
    """Users of one group, each with an account at the server."""
    group: Group = GroupFactory()
    BroadworksConnectionFactory.of_server(server, system_provider=group.system_provider)
    return [ImpAccountFactory.at_server(server, user=EndUserFactory(group=group)) for _ in range(count)]


@contextmanager
def workers(
    folder: Path, place: int, count: int, *, lease_s: float, database_port: int | None = None
) -> Iterator[list[Program]]:
    """So many Celery workers with residents, on the test database, which they may reach through another port."""
    environment = os.environ | {
        "DATABASE_URL": database_url(database_port),
        "PORTAL_VAR_DIR": str(folder),
        "PORTAL_ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "PORTAL_LEASE_TTL_S": str(lease_s),
        "DEBUG": "1",
        **own_broker(place),
    }
    programs = []
    for n in range(count):
        command = [sys.executable, *CELERY, f"xmpp{n}@%h"]
        programs.append(Program(f"worker {n}", command, environment, folder / f"worker{n}.log"))
    try:
        for program in programs:
            program.start()
        yield programs
    finally:
        for program in programs:
            program.resume()
            program.kill()
        wait_until_alone(PATIENCE_S)


def online(accounts: list[ImpAccount]) -> int:
    keys = [account.pk for account in accounts]
    return ImpAccount.objects.filter(pk__in=keys, status=AccountStatus.ONLINE).count()


def wait_all_online(accounts: list[ImpAccount], programs: list[Program]) -> None:
    said = lambda: "\n".join(program.said() for program in programs)  # noqa: E731
    wait_for(lambda: online(accounts) == len(accounts), PATIENCE_S, f"all accounts to be online\n{said()}")


def shards_by_pid() -> dict[int, list[int]]:
    """Process id of each worker that has shards → these."""
    found: dict[int, list[int]] = {}
    for name, holder in Lease.objects.filter(living(), name__startswith=LEASE_PREFIX).values_list("name", "holder"):
        found.setdefault(int(holder.split(":")[1]), []).append(int(name.removeprefix(LEASE_PREFIX)))
    return found


def accounts_of(program: Program, accounts: list[ImpAccount]) -> list[ImpAccount]:
    """Those that this worker has."""
    shards = {shard for pid, theirs in shards_by_pid().items() if pid in program.pids for shard in theirs}
    return [account for account in accounts if account.slot % settings.XMPP_SHARDS in shards]


def busiest(programs: list[Program], accounts: list[ImpAccount]) -> Program:
    return max(programs, key=lambda program: len(accounts_of(program, accounts)))


class Traffic:
    """Texts in both directions, numbered, until `stop`: from users through their accounts, and to them from peers."""

    def __init__(self, server: Prosody, accounts: list[ImpAccount], peers: int = 3, pause_s: float = 0.04) -> None:
        self._accounts, self._pause_s = accounts, pause_s
        self.peers = [UcOne(server, *server.new_account("peer")).connect() for _ in range(peers)]
        self.sent: list[str] = []
        self.received: list[str] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._outwards), threading.Thread(target=self._inwards)]
        for thread in self._threads:
            thread.start()

    def _outwards(self) -> None:
        n = 0
        while not self._stopping.wait(self._pause_s):
            account, peer = self._accounts[n % len(self._accounts)], self.peers[n % len(self.peers)]
            user = EndUser(pk=account.pk)
            text = f"out {n} of {account.imp_id}"
            send_to(user=user, route=Route(peer.jid, own=False, jid=peer.jid), text=text)
            self.sent.append(text)
            n += 1
        connections.close_all()

    def _inwards(self) -> None:
        n = 0
        while not self._stopping.wait(self._pause_s):
            account, peer = self._accounts[n % len(self._accounts)], self.peers[n % len(self.peers)]
            text = f"in {n} to {account.imp_id}"
            peer.send(account.imp_id, text)
            self.received.append(text)
            n += 1

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def settle(self) -> None:
        """Return when all that was written is where it should be; what is missing is named when it is not."""
        wait_for(lambda: not self.missing_inwards(), PATIENCE_S, f"inwards: {self.missing_inwards()[:5]}")
        wait_for(lambda: not self.missing_outwards(), PATIENCE_S, f"outwards: {self.missing_outwards()[:5]}")
        wait_for(
            lambda: not XmppDelivery.objects.exclude(state="delivered").exists(),
            PATIENCE_S,
            f"confirmations: {XmppDelivery.objects.exclude(state='delivered').values_list('state', flat=True)[:5]}",
        )
        for peer in self.peers:
            peer.sync()

    def missing_inwards(self) -> list[str]:
        return sorted(set(self.received) - set(ImMessage.objects.values_list("text", flat=True)))

    def missing_outwards(self) -> list[str]:
        return sorted(set(self.sent) - {each.body or "" for peer in self.peers for each in peer.messages})

    def doubled_inwards(self) -> int:
        """How many texts stand twice in a conversation."""
        return sum(n - 1 for n in Counter(ImMessage.objects.values_list("text", flat=True)).values())

    def stanzas_doubled_outwards(self) -> int:
        """How many stanzas came twice; with the same id, so that clients show them once."""
        return sum(n - 1 for n in Counter(each.id for peer in self.peers for each in peer.messages).values())

    def visible_twice_outwards(self) -> list[str]:
        """Texts that came with two ids: a client would show both."""
        ids: dict[str, set[str]] = {}
        for peer in self.peers:
            for each in peer.messages:
                ids.setdefault(each.body or "", set()).add(each.id or "")
        return [text for text, found in ids.items() if len(found) > 1]

    def close(self) -> None:
        self.stop()
        for peer in self.peers:
            peer.disconnect()


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._began, 1)
