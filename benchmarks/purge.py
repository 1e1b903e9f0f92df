"""The daily purge: `manage.py purge` of half a million expired texts of two million, with attempts, conversations,
raw webhook events and files (one text in twenty has one, with a thumbnail), against one plain DELETE for each table of
the same rows in a copy of the same database and one unlink for each file; and what inbound texts notice of it, by a
real web server under a steady load.

Goal: at most 4 times the DELETE; the 99th percentile of inbound calls during the purge at most 2 times that without.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import psycopg

from benchmarks._setup import BIN, ROOT, prepare, process, show
from tests.ports import free_port

ROWS = int(os.environ.get("BENCH_ROWS", "2000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CALLS_A_SECOND = int(os.environ.get("BENCH_RATE", "120"))
THREADS = 8
_RAW = [
    "DELETE FROM cpaas_attachment WHERE id IN (SELECT id FROM gone_file)",
    "DELETE FROM cpaas_attempt WHERE id IN (SELECT id FROM gone_attempt)",
    "DELETE FROM cpaas_message WHERE id IN (SELECT id FROM gone_message)",
    "DELETE FROM cpaas_conversation WHERE id IN (SELECT id FROM gone_conversation)",
    "DELETE FROM cpaas_webhookevent WHERE id IN (SELECT id FROM gone_event)",
]
_NOTE = """
    CREATE TABLE gone_message AS
        SELECT id, conversation_id FROM cpaas_message WHERE created_at < now() - interval '90 days';
    CREATE TABLE gone_file AS
        SELECT f.id FROM cpaas_attachment f JOIN gone_message m ON m.id = f.message_id;
    CREATE TABLE gone_attempt AS
        SELECT a.id FROM cpaas_attempt a JOIN gone_message m ON m.id = a.message_id;
    CREATE TABLE gone_conversation AS
        SELECT DISTINCT m.conversation_id AS id FROM gone_message m WHERE NOT EXISTS (
            SELECT FROM cpaas_message s WHERE s.conversation_id = m.conversation_id
            AND s.created_at >= now() - interval '90 days');
    CREATE TABLE gone_event AS
        SELECT id FROM cpaas_webhookevent WHERE created_at < now() - interval '14 days';
    ANALYZE;
"""


def main() -> None:
    prepare()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEDIA_ROOT"] = folder
        _measure()


def _measure() -> None:
    begun = time.monotonic()
    path, key, pairs = _fill()
    print(f"{ROWS:,} texts made in {time.monotonic() - begun:.0f} s", flush=True)
    counts = _note_expired()
    times: dict[str, list[float]] = {"plain DELETE": [], "manage.py purge": [], "purge under load": []}
    calm: list[float] = []
    busy: list[float] = []
    for _ in range(ROUNDS):
        times["plain DELETE"].append(_raw_delete(_copy("copy_raw"), _write_files()))
        url = _copy("copy_purge")
        _write_files()
        times["manage.py purge"].append(_purge(url))
        url = _copy("copy_load")
        _write_files()
        with _server(url) as port:
            load = Load(port, path, key, pairs)
            load.run(2.0)  # connections are made, statements prepared
            calm += load.run(times["manage.py purge"][-1] * 1.5)
            done = threading.Event()
            purging = threading.Thread(target=_purge_beside, args=(url, times["purge under load"], done))
            purging.start()
            busy += load.run(until=done)
            purging.join()
    _report(counts, times, calm, busy)


def _report(counts: dict[str, int], times: dict[str, list[float]], calm: list[float], busy: list[float]) -> None:
    raw = times["plain DELETE"]
    rows: list[tuple[str, ...]] = [("way", "seconds (median)", "all rounds", "it / plain DELETE", "goal")]
    for name, found in times.items():
        ratio = median(mine / plain for mine, plain in zip(found, raw, strict=True))
        goal = "4" if name == "manage.py purge" else ""
        rows.append((name, f"{median(found):.2f}", " ".join(f"{s:.2f}" for s in found), f"{ratio:.2f}", goal))
    what = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    show(f"Purge of {what}; {ROUNDS} rounds", rows)
    rows = [("inbound calls", "number", "median ms", "99th percentile ms", "slowest ms", "p99 / without", "goal")]
    for name, found in (("without purge", calm), ("during the purge", busy)):
        ratio = f"{_p99(found) / _p99(calm):.2f}"
        numbers = (f"{median(found):.1f}", f"{_p99(found):.1f}", f"{max(found):.1f}")
        rows.append((name, str(len(found)), *numbers, ratio, "2" if found is busy else ""))
    show(f"Inbound texts, {CALLS_A_SECOND} a second", rows)


def _p99(found: list[float]) -> float:
    return quantiles(found, n=100)[98]


# --- The data ---------------------------------------------------------------------------------------------------------
def _fill() -> tuple[str, str, list[tuple[str, str]]]:
    """Texts of 120 days; returns a platform's webhook path, its inbound key and pairs of own number and remote."""
    from django.db import connection

    from cpaas.models import Conversation, CpaasPlatform, WebhookEvent
    from cpaas.tests.factories import CREDENTIALS
    from portal.models import SystemProvider
    from tests.scale.population import multiply, populate

    populate(ROWS)
    platform = CpaasPlatform.objects.get(system_provider=SystemProvider.objects.earliest("id"))
    event = WebhookEvent.objects.create(
        platform=platform, nonce="first", body_digest="d" * 64, body=b"x" * 200, sid="first", state="applied"
    )
    # Raw events are kept 14 days, so what a daily purge meets is some of 20 days, not of all 120.
    recent = (
        "(SELECT m.sid AS text, m.created_at AS at, num.platform_id AS own, row_number() OVER () AS n "
        "FROM cpaas_message m JOIN cpaas_cpaasnumber num ON num.id = m.number_id "
        "WHERE m.direction = 'in' AND m.sid <> '' AND m.created_at > now() - interval '20 days') s"
    )
    columns = {"created_at": "s.at", "nonce": "'call-' || n", "sid": "s.text", "platform_id": "s.own"}
    multiply(event, 0, source=recent, **columns)
    _fill_files()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE cpaas_webhookevent, cpaas_attachment")
    rows = Conversation.objects.filter(number__platform=platform).values_list("number__number", "remote")
    pairs = [(number, remote) for number, remote in rows.order_by("id")[:40_000:4]]
    random.Random(1).shuffle(pairs)
    connection.close()
    return f"/webhooks/inteliquent/{platform.pk}/{platform.webhook_secret}/", CREDENTIALS["inbound_api_key"], pairs


def _fill_files() -> None:
    """A file for one text in twenty."""
    from django.db import connection

    from cpaas.tests.factories import AttachmentFactory
    from tests.scale.population import multiply

    own = AttachmentFactory(token="t" * 22, thumbnail_token="t" * 22)
    source = (
        "(SELECT * FROM (SELECT m.id AS text, m.number_id AS own, m.user_id AS whose, row_number() OVER (ORDER BY m.id)"
        " AS n FROM cpaas_message m) every WHERE n % 20 = 0) s"
    )
    columns = {"id": "s.text", "message_id": "s.text", "number_id": "s.own", "user_id": "s.whose"}
    tokens = {"token": "substr(md5(n::text), 1, 22)", "thumbnail_token": "substr(md5('t' || n::text), 1, 22)"}
    multiply(own, 0, source=source, **columns, **tokens)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cpaas_message SET file_count = 1 WHERE id IN (SELECT message_id FROM cpaas_attachment)")
        cursor.execute("VACUUM FULL ANALYZE cpaas_message")


def _write_files() -> list[Path]:
    """The files of what will go; returns where they are."""
    folder = Path(os.environ["MEDIA_ROOT"])
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        names = [row[0].hex for row in connection.execute("SELECT id FROM gone_file")]
    paths = []
    for name in names:
        (folder / "attachments" / name[-2:]).mkdir(parents=True, exist_ok=True)
        for end in ("1", "1.thumbnail"):
            paths.append(folder / "attachments" / name[-2:] / f"{name}.{end}")
            paths[-1].write_bytes(b"x" * 20_000)
    return paths


def _note_expired() -> dict[str, int]:
    """The rows that will go, noted before, so that the plain DELETE only deletes."""
    names = {
        "texts": "message",
        "files": "file",
        "attempts": "attempt",
        "conversations": "conversation",
        "raw events": "event",
    }
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(_NOTE)
        counted = {}
        for name, table in names.items():
            row = connection.execute(f"SELECT count(*) FROM gone_{table}").fetchone()  # type: ignore[arg-type]
            counted[name] = row[0] if row else 0
    return counted


def _copy(name: str) -> str:
    """A fresh copy of the filled database; returns its URL."""
    url = os.environ["DATABASE_URL"]
    server, own = url.rsplit("/", 1)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[arg-type]
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {own} STRATEGY file_copy")  # type: ignore[arg-type]
    return f"{server}/{name}"


# --- What is measured -------------------------------------------------------------------------------------------------
def _raw_delete(url: str, files: list[Path]) -> float:
    with psycopg.connect(url) as connection:
        begun = time.perf_counter()
        for statement in _RAW:
            connection.execute(statement)  # type: ignore[arg-type]
        connection.commit()
        for path in files:
            path.unlink()
        return time.perf_counter() - begun


def _purge(url: str) -> float:
    """The command in a process of its own, without the time Python takes to start."""
    command = [sys.executable, __file__, "purge"]
    done = subprocess.run(command, env=os.environ | {"DATABASE_URL": url}, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    report, seconds = done.stdout.strip().splitlines()[-2:]
    assert json.loads(report)["messages"] > 0
    return float(seconds)


def _purge_beside(url: str, times: list[float], done: threading.Event) -> None:
    try:
        times.append(_purge(url))
    finally:
        done.set()


@contextmanager
def _server(url: str) -> Iterator[int]:
    """A web server on that database; its port."""
    port = free_port()
    command = [str(BIN / "granian"), "--interface", "wsgi", "--port", str(port), "--log-level", "warning"]
    command += ["--workers", "2", "--blocking-threads", "8", "portal.wsgi:application"]
    with process(*command, port=port, DATABASE_URL=url):
        yield port


class Load:
    """Inbound texts at a steady rate, whether or not the answers keep up; a call's time counts from when it was due."""

    def __init__(self, port: int, path: str, key: str, pairs: list[tuple[str, str]]) -> None:
        self.port, self.path, self.key, self.pairs = port, path, key, pairs
        self.calls = 0

    def run(self, seconds: float = 120.0, until: threading.Event | None = None) -> list[float]:
        """The times of the calls, in milliseconds."""
        found: list[float] = []
        stop = until or threading.Event()
        first = self.calls
        begun = time.perf_counter()
        arguments = (begun, seconds, stop, first, found)
        threads = [threading.Thread(target=self._call, args=(n, *arguments)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.calls = first + len(found) + THREADS
        return found

    def _call(
        self, thread: int, begun: float, seconds: float, stop: threading.Event, first: int, found: list[float]
    ) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        for n in range(thread, 10**9, THREADS):
            due = begun + n / CALLS_A_SECOND
            if due > begun + seconds or stop.wait(max(0.0, due - time.perf_counter())):
                return
            body, headers = self._text(first + n)
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            answer.read()
            assert 200 <= answer.status < 300, answer.status
            found.append((time.perf_counter() - due) * 1000)

    def _text(self, n: int) -> tuple[bytes, dict[str, str]]:
        number, remote = self.pairs[n % len(self.pairs)]
        nonce = f"load-{self.port}-{n}"
        token = hashlib.sha256((self.key + nonce).encode()).hexdigest()
        body = {"referenceId": nonce, "from": remote[1:], "to": [number[1:]], "text": "Hello there"}
        headers = {"Content-Type": "application/json", "messageID": nonce, "verificationToken": token}
        return json.dumps(body).encode(), headers


def purge() -> None:
    """In a process of its own: the command, then how many seconds it took."""
    prepare()
    from django.core.management import call_command

    begun = time.perf_counter()
    call_command("purge")
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    purge() if sys.argv[1:2] == ["purge"] else main()
