"""1,000 open event streams on one process: memory, database connections, and how long after its commit news arrives.

Three patterns: one event for one of 1,000 users; one for each of them in the same moment, each about a text of its own,
so that a thousand are read and rendered; and one event for a user whose thousand devices all listen. Beside them, in
turn, the least a stream can be: bare ASGI that hands the same bytes from Redis to everybody. That is the third pattern,
without reading, rendering and asking whether each device may still listen.
Goal: at most 100 kB a stream, every event delivered once, p99 of at most 250 ms, as many database connections for
1,000 streams as for 10; everybody served within twice the time of bare ASGI.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks._setup import BIN, prepare, process, show
from tests.ports import free_port

STREAMS = int(os.environ.get("BENCH_STREAMS", "1000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "20"))
SINGLE = 200
PATIENCE_S = 60


def main() -> None:
    prepare()
    users, devices = _users(), _devices_of_one()
    port, bare_port = free_port(), free_port()
    server = (str(BIN / "uvicorn"), "--log-level", "warning", "--no-access-log", "--port")
    with process(*server, str(port), "portal.asgi:application", port=port) as portal:
        ours = asyncio.run(_measure_portal(port, portal.pid, users))
        ours |= asyncio.run(_measure_devices(port, devices))
    with process(*server, str(bare_port), "benchmarks._baselines.bare_stream:app", port=bare_port) as bare:
        theirs = asyncio.run(_measure_bare(bare_port, bare.pid))
    show(f"{STREAMS} event streams on one process", [("what", "portal", "bare ASGI", "goal"), *_table(ours, theirs)])


def _table(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, ...]]:
    each, same = (f"{median(ours[name]) / median(theirs['all']):.1f}" for name in ("all", "all_devices"))
    return [
        ("kB a stream (PSS)", f"{ours['kB']:.0f}", f"{theirs['kB']:.0f}", "100"),
        ("database connections at 10 and at all streams", f"{ours['few']} and {ours['many']}", "", "the same"),
        ("one event to one user, ms p50 / p99", _spread(ours["single"]), "", "p99 250"),
        ("each user's own event at once, ms p50 / p99", _spread(ours["each"]), _spread(theirs["each"]), "p99 250"),
        ("… until the last has it, ms (median)", _median_ms(ours["all"]), _median_ms(theirs["all"]), ""),
        ("… as a ratio", each, "1", "2"),
        (
            "one event to all devices of a user, ms p50 / p99",
            _spread(ours["devices"]),
            _spread(theirs["each"]),
            "p99 250",
        ),
        ("… until the last has it, ms (median)", _median_ms(ours["all_devices"]), _median_ms(theirs["all"]), ""),
        ("… as a ratio", same, "1", "2"),
        ("events delivered, each once", f"{ours['delivered']}", f"{theirs['delivered']}", "all"),
    ]


def _median_ms(seconds: list[float]) -> str:
    return f"{median(seconds) * 1000:.0f}"


def _spread(seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=100)
    return f"{cuts[49] * 1000:.0f} / {cuts[98] * 1000:.0f}"


class Stream:
    """A client that keeps when each frame came. It reads raw bytes, so that a thousand cost little."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.ids: list[int] = []
        self.hello = asyncio.Event()

    async def read(self, reader: asyncio.StreamReader) -> None:
        rest = b""
        while data := await reader.read(65536):
            now = time.monotonic()
            *frames, rest = (rest + data).split(b"\n\n")
            for frame in frames:
                if b"event: hello" in frame:
                    self.hello.set()
                elif b"id: " in frame:
                    self.arrivals.append(now)
                    self.ids.append(int(frame.partition(b"id: ")[2].split(b"\n", 1)[0]))


@asynccontextmanager
async def _streams(port: int, tokens: list[str]) -> AsyncIterator[list[Stream]]:
    """Open streams, all of which were greeted."""
    streams, tasks = [], []
    async with AsyncExitStack() as stack:
        for token in tokens:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            request = f"GET /api/v1/events/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
            writer.write(request.encode())
            stream = Stream()
            tasks.append(asyncio.create_task(stream.read(reader)))
            streams.append(stream)
        for stream in streams:
            await asyncio.wait_for(stream.hello.wait(), PATIENCE_S)
        yield streams
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _measure_portal(port: int, pid: int, users: list[tuple[uuid.UUID, uuid.UUID, str]]) -> dict[str, Any]:
    tokens = [token for _, _, token in users]
    async with _streams(port, tokens[:10]) as streams:
        await _publish_each(users[:10])
        await _all_have(streams, 1)
        few, memory = await asyncio.to_thread(_connections), _pss(pid)
    async with _streams(port, tokens) as streams:
        many, grown = await asyncio.to_thread(_connections), _pss(pid)
        single = [await _one(random.choice(list(zip(streams, users, strict=True)))) for _ in range(SINGLE)]
        each, last = await _rounds(streams, users)
        delivered = _delivered(streams)
    assert delivered == SINGLE + ROUNDS * STREAMS, f"{delivered} events arrived"
    return {
        "kB": (grown - memory) / STREAMS,
        "few": few,
        "many": many,
        "single": single,
        "each": each,
        "all": last,
        "delivered": delivered,
    }


async def _measure_devices(port: int, devices: list[tuple[uuid.UUID, uuid.UUID, str]]) -> dict[str, Any]:
    async with _streams(port, [token for _, _, token in devices]) as streams:
        each, last = await _rounds(streams, devices[:1])
        assert _delivered(streams) == ROUNDS * STREAMS
    return {"devices": each, "all_devices": last}


async def _rounds(
    streams: list[Stream], told: list[tuple[uuid.UUID, uuid.UUID, str]]
) -> tuple[list[float], list[float]]:
    """Seconds from the commit of an event for each of `told` until a stream has it, for each round and stream; and
    until the last one has it, for each round."""
    before = [len(stream.arrivals) for stream in streams]
    each, last = [], []
    for number in range(1, ROUNDS + 1):
        committed = await _publish_each(told)
        await _all_have(streams, number, before)
        arrived = [
            stream.arrivals[start + number - 1] - committed for stream, start in zip(streams, before, strict=True)
        ]
        each += arrived
        last.append(max(arrived))
    return each, last


def _delivered(streams: list[Stream]) -> int:
    for stream in streams:
        assert stream.ids == list(range(stream.ids[0], stream.ids[0] + len(stream.ids))), "a hole or a double"
    return sum(len(stream.ids) for stream in streams)


async def _measure_bare(port: int, pid: int) -> dict[str, Any]:
    import redis.asyncio

    memory = _pss(pid)
    client = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"])
    async with _streams(port, ["none"] * STREAMS) as streams:
        grown, each, last = _pss(pid), [], []
        for number in range(1, ROUNDS + 1):
            committed = time.monotonic()
            await client.publish("bench_stream", b"id: %d\nevent: message.updated\ndata: %s\n\n" % (number, b"x" * 700))
            await _all_have(streams, number)
            arrived = [stream.arrivals[number - 1] - committed for stream in streams]
            each += arrived
            last.append(max(arrived))
        delivered = sum(len(stream.ids) for stream in streams)
    await client.aclose()
    return {"kB": (grown - memory) / STREAMS, "each": each, "all": last, "delivered": delivered}


async def _one(chosen: tuple[Stream, tuple[uuid.UUID, uuid.UUID, str]]) -> float:
    """Seconds from the commit of one event until its stream has it."""
    stream, user = chosen
    before = len(stream.arrivals)
    committed = await _publish_each([user])
    await _all_have([stream], 1, [before])
    await asyncio.sleep(0.01)
    return stream.arrivals[before] - committed


async def _all_have(streams: list[Stream], count: int, before: list[int] | None = None) -> None:
    """Wait until each stream has `count` events more than `before`."""
    starts = before or [0] * len(streams)
    deadline = time.monotonic() + PATIENCE_S
    while any(len(stream.arrivals) < start + count for stream, start in zip(streams, starts, strict=True)):
        if time.monotonic() > deadline:
            raise TimeoutError("events did not arrive")
        await asyncio.sleep(0.005)


async def _publish_each(users: list[tuple[uuid.UUID, uuid.UUID, str]]) -> float:
    """One transaction with an event for each of `users`; returns when it was committed."""
    return await asyncio.to_thread(_publish, users)


def _publish(users: list[tuple[uuid.UUID, uuid.UUID, str]]) -> float:
    from django.db import transaction

    from portal.events import News

    committed: list[float] = []
    with transaction.atomic():
        # First of the hooks, so before the wake-up.
        transaction.on_commit(lambda: committed.append(time.monotonic()))
        news = News()
        for user_id, message_id, _ in users:
            news.add(user_id, "message.updated", message_id)
        news.write()
    return committed[0]


def _users() -> list[tuple[uuid.UUID, uuid.UUID, str]]:
    """Users with a text and a device each: ids of user and message, and the device's token."""
    from cpaas.models import Conversation, CpaasNumber, Message
    from cpaas.tests.factories import CpaasPlatformFactory
    from portal.models import EndUser
    from portal.tests.factories import GroupFactory

    group = GroupFactory()
    levels = {"group": group, "reseller": group.reseller, "system_provider": group.system_provider}
    platform = CpaasPlatformFactory(system_provider=group.system_provider)
    people = [EndUser(login=f"bench{n}@example.com", name=f"Bench {n}", **levels) for n in range(STREAMS)]
    EndUser.objects.bulk_create(people)
    numbers = [
        CpaasNumber(
            number=f"+1201{n:07d}", user=user, platform=platform, status="enabled", opt_in_state="accepted", **levels
        )
        for n, user in enumerate(people)
    ]
    CpaasNumber.objects.bulk_create(numbers)
    conversations = [Conversation(number=number, remote="+17036089795", user=number.user) for number in numbers]
    Conversation.objects.bulk_create(conversations)
    messages = [
        Message(
            conversation=each, number=each.number, user=each.user, position=1, direction="in", status="received",
            remote=each.remote, text="Hello there",
        )
        for each in conversations
    ]  # fmt: skip
    Message.objects.bulk_create(messages)
    tokens = _log_in(people)
    return [(user.pk, message.pk, token) for user, message, token in zip(people, messages, tokens, strict=True)]


def _devices_of_one() -> list[tuple[uuid.UUID, uuid.UUID, str]]:
    """A user with a text and many devices: the same two ids with the token of each."""
    from cpaas.tests.factories import MessageFactory

    message = MessageFactory(text="Hello there")
    return [(message.user_id, message.pk, token) for token in _log_in([message.user] * STREAMS)]


def _log_in(users: Sequence[Any]) -> list[str]:
    """A new device for each of `users`."""
    from datetime import timedelta

    from django.utils import timezone

    from portal.models import Device
    from portal.services.tokens import DEVICE_PREFIX, digest_of

    tokens = [DEVICE_PREFIX + uuid.uuid4().hex for _ in users]
    expires_at = timezone.now() + timedelta(days=1)
    Device.objects.bulk_create(
        Device(user=user, name="bench", digest=digest_of(token), expires_at=expires_at)
        for user, token in zip(users, tokens, strict=True)
    )
    return tokens


def _connections() -> int:
    """Connections to the database but our own."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def _pss(pid: int) -> float:
    """Kilobytes a process has for itself, with its share of what others have too."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("Pss:")).split()[1])


if __name__ == "__main__":
    sys.exit(main())
