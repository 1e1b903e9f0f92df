"""The broker in a folder: no message lost, none doubled, none half read (architecture section 7)."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection, Exchange, Queue

import portal.celery  # noqa: F401 - registers the transport
from portal.atomicfs import transport_options

pytestmark = pytest.mark.core
QUEUE = Queue("work", Exchange("work"), routing_key="work")
PUBLISHERS, EACH = 4, 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "broker"


def connect(folder: Path) -> Connection:
    return Connection("atomicfs://localhost", transport_options=transport_options(folder))


def publish(folder: Path, publisher: int) -> None:
    with connect(folder) as connection, connection.Producer() as producer:
        for number in range(EACH):
            body = {"publisher": publisher, "number": number, "padding": "x" * 20000}
            producer.publish(body, exchange=QUEUE.exchange, routing_key=QUEUE.routing_key, declare=[QUEUE])


def drain(folder: Path, wanted: int) -> Iterator[dict[str, int]]:
    """Take messages until `wanted` came and then none for a while."""
    with connect(folder) as connection, connection.SimpleQueue(QUEUE) as queue:
        quiet = 0
        while wanted > 0 and quiet < 1200:
            try:
                message = queue.get(timeout=0.1)
            except Empty:
                quiet += 1
                continue
            message.ack()
            wanted, quiet = wanted - 1, 0
            yield message.payload


def test_processes_that_publish_and_threads_that_read_at_once_lose_and_double_nothing(folder: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    publishers = [spawn.Process(target=publish, args=[folder, index]) for index in range(PUBLISHERS)]
    for publisher in publishers:
        publisher.start()
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(lambda: list(drain(folder, PUBLISHERS * EACH // 2))) for _ in range(2)]
        read = [message for reader in readers for message in reader.result()]
    for publisher in publishers:
        publisher.join()
        assert publisher.exitcode == 0
    seen = sorted((message["publisher"], message["number"]) for message in read)
    assert seen == [(publisher, number) for publisher in range(PUBLISHERS) for number in range(EACH)]
    assert list((folder / "messages").iterdir()) == []


def test_messages_of_one_publisher_come_in_their_order(folder: Path) -> None:
    publish(folder, 0)
    assert [message["number"] for message in drain(folder, EACH)] == list(range(EACH))


def test_a_file_that_is_being_written_or_read_is_no_message(folder: Path) -> None:
    publish(folder, 0)
    messages = folder / "messages"
    for file in messages.iterdir():
        file.unlink()
    (messages / ".1_a.work.msg.half").write_text("{")
    (messages / ".1_b.work.msg.taken").write_text("{")
    with connect(folder) as connection, connection.SimpleQueue(QUEUE) as queue, pytest.raises(Empty):
        queue.get(block=False)


def test_queues_declared_at_once_all_stand_in_the_table_of_their_exchange(folder: Path) -> None:
    exchange = Exchange("shared")

    def declare(index: int) -> None:
        with connect(folder) as connection:
            Queue(f"queue-{index}", exchange, routing_key="key")(connection.default_channel).declare()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(declare, range(8)))
    table = json.loads((folder / "control" / "shared.exchange").read_text())
    assert {entry[2] for entry in table} == {f"queue-{index}" for index in range(8)}
