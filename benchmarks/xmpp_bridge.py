"""The XMPP bridge in one worker: messages a second both ways, CPU a message, memory and CPU of a session, latency.

Beside it, in turn on the same Prosody: bare sockets (what the server passes on at most, without its archive) and bare
slixmpp (two clients in one process, of which each message has both ends, as a message in and one out have here).
Goals: 0.20 of the raw ceiling in + out, CPU at most 1.5 of bare slixmpp, 200 kB a TLS session, 10 ms CPU a login, and
15 ms from the API to the peer when idle (p50).
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import uvloop

from benchmarks._setup import BIN, ROOT, prepare, process, show
from tests.ports import free_port

ACCOUNTS = int(os.environ.get("BENCH_ACCOUNTS", "100"))
SESSIONS = int(os.environ.get("BENCH_SESSIONS", "300"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "10000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SINGLE = 200
BARE_LOGINS = 50
PEERS = 10
PATIENCE_S = 180


def main() -> None:
    prepare()
    from tests.prosody import Prosody

    with Prosody(archive="memory") as server:
        small = _make_accounts(server, ACCOUNTS)
        bare = [_bare(server) for _ in range(ROUNDS)]
        raw = []
        rates, costs = [], []
        with _bridge() as pid:
            _wait_online(len(small))
            for _ in range(ROUNDS):
                raw.append(_raw(server))
                rate, cost = uvloop.run(_traffic(server, small, pid))
                rates.append(rate)
                costs.append(cost)
            _analyse()
            with _web() as port:
                latencies = uvloop.run(_latencies(server, small, port))
        sessions = [_sessions(server, SESSIONS) for _ in range(ROUNDS)]
    show("XMPP bridge, one worker", _table(rates, costs, raw, bare, latencies, sessions))


def _table(
    rates: list[float],
    costs: list[float],
    raw: list[float],
    bare: list[tuple[float, float]],
    latencies: list[float],
    sessions: list[tuple[float, float]],
) -> list[tuple[str, ...]]:
    shares = [rate / ceiling for rate, ceiling in zip(rates, raw, strict=True)]
    messages, bare_logins = [cost for cost, _ in bare], [cost for _, cost in bare]
    memory, logins = [size for size, _ in sessions], [cost for _, cost in sessions]
    return [
        ("what", "bridge", "beside it", "ratio", "goal"),
        ("messages a second, in + out", _list(rates), f"raw {_list(raw)}", f"{median(shares):.2f}", "0.20"),
        (
            "CPU of a message in and one out, µs",
            _list(costs),
            f"bare slixmpp {_list(messages)}",
            f"{median(costs) / median(messages):.2f}",
            "1.5",
        ),
        ("kB a TLS session", _list(memory), "", "", "200"),
        (
            "CPU a login, ms",
            _list(logins, 1),
            f"bare slixmpp {_list(bare_logins, 1)}",
            f"{median(logins) / median(bare_logins):.2f}",
            "10 ms",
        ),
        ("API to peer when idle, ms p50 / p99", _spread(latencies), "", "", "p50 15"),
    ]


def _list(values: list[float], digits: int = 0) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)


def _spread(seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=100)
    return f"{cuts[49] * 1000:.1f} / {cuts[98] * 1000:.1f}"


# --- what is beside it


def _raw(server: Any) -> float:
    """Messages a second from socket to socket."""
    accounts = [part for _ in range(100) for part in server.new_account("raw")]
    found = _baseline("xmpp_raw", "clients", str(server.port), server.domain, str(server.ca_file), "30000", *accounts)
    return float(found["messages"] / found["seconds"])


def _bare(server: Any) -> tuple[float, float]:
    """CPU of a message, both ends, in microseconds, and of a login in milliseconds."""
    accounts = [part for _ in range(2 + BARE_LOGINS) for part in server.new_account("bare")]
    found = _baseline("xmpp_slixmpp", str(server.port), str(server.ca_file), "10000", *accounts)
    return found["cpu_s"] / found["messages"] * 1e6, found["login_cpu_s"] * 1000


def _baseline(name: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"benchmarks._baselines.{name}", *arguments]
    found: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=ROOT, text=True))
    return found


# --- the bridge


def _make_accounts(server: Any, count: int) -> list[Any]:
    from portal.tests.factories import EndUserFactory, GroupFactory
    from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory

    group = GroupFactory()
    BroadworksConnectionFactory.of_server(server, system_provider=group.system_provider)
    return [ImpAccountFactory.at_server(server, user=EndUserFactory(group=group)) for _ in range(count)]


@contextmanager
def _bridge() -> Iterator[int]:
    """A worker with residents; its process id."""
    command = (sys.executable, "manage.py", "residents")
    with process(*command, PYTHONPATH=str(ROOT)) as started:
        yield started.pid


def _wait_online(count: int) -> None:
    from xmpp.models import ImpAccount

    _wait(lambda: ImpAccount.objects.filter(status="online").count() >= count)


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.05)


class Peer(asyncio.Protocol):
    """A raw client on the other side: counts what comes, and says when each of our ids did."""

    def __init__(self, transport: Any, on_id: Callable[[str], None] | None = None) -> None:
        self.transport, self.seen, self._rest, self._on_id = transport, 0, b"", on_id
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self.seen += data.count(b"<body>")
        if self._on_id is not None:
            self._rest = (self._rest + data)[-20_000:]
            for found in re.findall(rb"origin-id[^>]*\sid='([0-9a-f-]{36})'", self._rest):
                self._on_id(found.decode())


async def _peers(server: Any, on_id: Callable[[str], None] | None = None, count: int = PEERS) -> list[tuple[str, Peer]]:
    from benchmarks._baselines.xmpp_raw import log_in

    context = ssl.create_default_context(cafile=str(server.ca_file))
    found = []
    for _ in range(count):
        jid, password = server.new_account("peer")
        writer = await log_in(server.port, server.domain, context, jid, password)
        found.append((jid, Peer(writer.transport, on_id)))
    return found


async def _traffic(server: Any, accounts: list[Any], pid: int) -> tuple[float, float]:
    """As many messages in as out, all at once: a second, and CPU in µs of one in and one out."""
    peers = await _peers(server)
    await asyncio.to_thread(_queue, accounts, [jid for jid, _ in peers])
    before, cpu, began = await asyncio.to_thread(_stored), _cpu(pid), time.monotonic()
    await asyncio.to_thread(_wake)
    for n in range(MESSAGES):
        _, peer = peers[n % PEERS]
        to = accounts[n % len(accounts)].imp_id
        peer.transport.write(
            f"<message to='{to}' type='chat' id='{uuid.uuid4()}'><body>Hello there</body>"
            "<no-store xmlns='urn:xmpp:hints'/></message>".encode()
        )
        if n % 200 == 0:
            await asyncio.sleep(0)

    def is_done() -> bool:
        return sum(peer.seen for _, peer in peers) >= MESSAGES and _stored() >= before + MESSAGES

    await asyncio.to_thread(_wait, is_done)
    seconds = time.monotonic() - began
    return 2 * MESSAGES / seconds, (_cpu(pid) - cpu) / MESSAGES * 1e6


def _queue(accounts: list[Any], jids: list[str]) -> None:
    """Messages of users as the API leaves them, without a wake-up."""
    from portal.models import EndUser
    from xmpp.models import ImMessage, XmppDelivery
    from xmpp.services.routing import Route
    from xmpp.services.sending import send_to

    firsts = [
        send_to(user=EndUser(pk=account.pk), route=Route(jid, own=False, jid=jid), text="first")
        for account, jid in zip(accounts, jids * len(accounts), strict=False)
    ]
    _wait(lambda: not XmppDelivery.objects.filter(state__in=["queued", "sending"]).exists())
    rows = [
        ImMessage(
            conversation_id=firsts[n % len(firsts)].conversation_id,
            sender_id=accounts[n % len(accounts)].pk,
            text="Hello there",
            via_xmpp=True,
            only_sender=True,
        )
        for n in range(MESSAGES)
    ]
    ImMessage.objects.bulk_create(rows, batch_size=1000)
    deliveries = [
        XmppDelivery(message=row, account_id=row.sender_id, to_jid=jids[n % len(firsts) % len(jids)])
        for n, row in enumerate(rows)
    ]
    XmppDelivery.objects.bulk_create(deliveries, batch_size=1000)


def _wake() -> None:
    from portal.events import wake

    wake("xmpp")


def _analyse() -> None:
    """As the database's own service does within a minute; after it statements are planned for tables of this size."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _stored() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM xmpp_immessage WHERE sender_id IS NULL")
        return int(cursor.fetchone()[0])


@contextmanager
def _web() -> Iterator[int]:
    """The API; its port."""
    port = free_port()
    command = (str(BIN / "granian"), "--interface", "wsgi", "--http", "1", "--no-ws", "--log-level", "warning")
    with process(*command, "--port", str(port), "portal.wsgi:application", port=port):
        yield port


async def _latencies(server: Any, accounts: list[Any], port: int) -> list[float]:
    """From the request to the API to the peer's socket, one after the other, in conversations that there are."""
    heard: dict[str, float] = {}
    [(jid, _)] = await _peers(server, lambda key: heard.setdefault(key, time.monotonic()), count=1)
    api = http.client.HTTPConnection("127.0.0.1", port)
    tokens = await asyncio.to_thread(_tokens, accounts)
    found = []
    for n in range(len(tokens) + SINGLE):
        began = time.monotonic()
        key = await asyncio.to_thread(_post, api, tokens[n % len(tokens)], jid)
        await asyncio.to_thread(_wait, lambda key=key: key in heard)
        found.append(heard[key] - began)
        await asyncio.sleep(0.05)
    return found[len(tokens) :]


def _tokens(accounts: list[Any]) -> list[str]:
    from portal.tests.factories import device_token

    return [device_token(account.user) for account in accounts]


def _post(api: http.client.HTTPConnection, token: str, jid: str) -> str:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    api.request("POST", "/api/v1/im/messages/", json.dumps({"to": jid, "text": "Hello there"}), headers)
    answer = api.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 202, found
    return str(found["id"])


def _sessions(server: Any, count: int) -> tuple[float, float]:
    """kB and ms of CPU a session: a worker without any, and then with so many more."""
    from xmpp.models import ImpAccount

    ImpAccount.objects.update(enabled=False, status="offline")
    with _bridge() as pid:
        time.sleep(10)
        memory, cpu = _pss(pid), _cpu(pid)
        time.sleep(10)
        idle = _cpu(pid) - cpu
        cpu, began = _cpu(pid), time.monotonic()
        _make_accounts(server, count)
        _wait_online(count)
        used = _cpu(pid) - cpu - idle / 10 * (time.monotonic() - began)
        time.sleep(5)
        return (_pss(pid) - memory) / count, used / count * 1000


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> float:
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return float(found[1])


if __name__ == "__main__":
    main()
