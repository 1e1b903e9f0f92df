"""Every list, filter and search at 5 million texts against 10 thousand: the whole page, its SQL, its queries.

Two databases of one server are filled alike but for their size (tests/scale/population.py). A process for each answers
through Django's test client, so a page is everything from the first middleware to the last byte. Which lists there are
is found by what is registered (tests/scale/lists.py); each way to look at one is measured in both databases in turn.

Goal: page at most 1.5 times, SQL at most 4 times, at most 8 queries. A page that is nearly empty in the small database
and full in the large one (numbers that failed, one in a thousand) is dearer by its rows, whatever the database costs:
such ways are shown apart, and only SQL and queries are judged.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._setup import ROOT, prepare, show

ROWS = int(os.environ.get("BENCH_ROWS", "5000000"))
SMALL_ROWS = int(os.environ.get("BENCH_SMALL_ROWS", "10000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
# Only lists whose name has this in it: BENCH_LISTS=Numbers
WANTED = re.compile(os.environ.get("BENCH_LISTS", ""), re.IGNORECASE)
PAGE_GOAL, SQL_GOAL, QUERY_GOAL = 1.5, 4.0, 8


class Measured:
    """One way to look at a list, in both databases."""

    def __init__(self, key: tuple[str, ...]) -> None:
        self.face, self.list, self.viewer, self.what = key
        self.page: tuple[list[float], list[float]] = ([], [])
        self.sql: tuple[list[float], list[float]] = ([], [])
        self.queries = 0
        self.rows = [0, 0]

    def add(self, side: int, found: list[float]) -> None:
        self.page[side].append(found[0])
        self.sql[side].append(found[1])
        self.queries = max(self.queries, int(found[2]))
        self.rows[side] = int(found[3])

    def ratio(self, of: tuple[list[float], list[float]]) -> float:
        return median(of[1]) / median(of[0])

    @property
    def is_alike(self) -> bool:
        """Whether both show as many rows, or nearly."""
        return self.rows[1] <= 1.1 * self.rows[0]

    @property
    def is_over(self) -> bool:
        return (self.is_alike and self.ratio(self.page) > PAGE_GOAL) or self.ratio(self.sql) > SQL_GOAL

    def __str__(self) -> str:
        return f"{self.viewer}, {self.what}"


class Database:
    """A process that works on one database; asked by lines of JSON."""

    def __init__(self, name: str, rows: int) -> None:
        url = os.environ["DATABASE_URL"].rsplit("/", 1)[0]
        command = [sys.executable, __file__, "work", str(rows)]
        environment = os.environ | {"DATABASE_URL": f"{url}/{name}"}
        self.process = subprocess.Popen(
            command, env=environment, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit("A measuring process has ended.")
        return json.loads(line)

    def ask(self, question: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.answer()


def main() -> None:
    databases = [_make("small_lists", SMALL_ROWS), _make("large_lists", ROWS)]
    try:
        begun = time.monotonic()
        keys = [[tuple(key) for key in database.answer()] for database in databases]
        places = [{key: place for place, key in enumerate(found)} for found in keys]
        wanted = [key for key in keys[1] if key in places[0] and WANTED.search(key[1])]
        print(f"{len(wanted)} ways to look at a list, found after {time.monotonic() - begun:.0f} s", flush=True)
        measured = [_measure(databases, places, key, ROUNDS) for key in wanted]
        # What is over its goal may only have met other work on the machine: it is measured again, more thoroughly.
        again = [place for place, way in enumerate(measured) if way.is_over]
        print(f"{len(again)} over a goal at first, measured again", flush=True)
        for place in again:
            measured[place] = _measure(databases, places, wanted[place], 5 * ROUNDS)
    finally:
        for database in databases:
            database.process.kill()
            database.process.wait()
    _report(measured)


def _make(name: str, rows: int) -> Database:
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    return Database(name, rows)


def _measure(
    databases: list[Database], places: list[dict[tuple[str, ...], int]], key: tuple[str, ...], rounds: int
) -> Measured:
    """The first look warms both and does not count."""
    measured = Measured(key)
    for round_number in range(rounds + 1):
        for side, database in enumerate(databases):
            found = database.ask(places[side][key])
            if round_number:
                measured.add(side, found)
    return measured


def _report(measured: list[Measured]) -> None:
    alike = [way for way in measured if way.is_alike]
    fuller = [way for way in measured if not way.is_alike]
    _show_lists(f"Lists at {ROWS:,} texts against {SMALL_ROWS:,}, {ROUNDS} rounds", alike)
    _show_lists("The same, of pages that have more rows in the large database", fuller)
    late = [way for way in alike if way.ratio(way.page) > PAGE_GOAL]
    slow = [way for way in measured if way.ratio(way.sql) > SQL_GOAL]
    many = [way for way in measured if way.queries > QUERY_GOAL]
    for what, found, of in (
        ("page over 1.5", late, alike),
        ("SQL over 4", slow, measured),
        ("over 8 queries", many, measured),
    ):
        print(f"\n{what}: {len(found)} of {len(of)}")
        for way in sorted(found, key=lambda way: -way.ratio(way.sql))[:20]:
            times = f"page {_pair(way.page)} ms, SQL {_pair(way.sql)} ms, {way.queries} queries, rows {way.rows}"
            print(f"  {way.face} {way.list}, {way}: {times}")


def _show_lists(title: str, measured: list[Measured]) -> None:
    lists: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for one in measured:
        lists[one.face, one.list].append(one)
    rows: list[tuple[str, ...]] = [
        ("list", "ways", "page ms small, large", "ratio", "worst", "SQL ms small, large", "ratio", "worst", "queries")
    ]
    for (face, name), ways in lists.items():
        page, sql = (max(ways, key=lambda way: way.ratio(getattr(way, of))) for of in ("page", "sql"))
        rows.append(
            (
                f"{face} {name}",
                str(len(ways)),
                *_middle(ways, "page"),
                f"{page.ratio(page.page):.2f} ({page})",
                *_middle(ways, "sql"),
                f"{sql.ratio(sql.sql):.2f} ({sql})",
                str(max(way.queries for way in ways)),
            )
        )
    show(title, rows)


def _middle(ways: list[Measured], of: str) -> tuple[str, str]:
    """The medians of a list's ways in both databases, and their ratio."""
    small, large = (median(median(getattr(way, of)[side]) for way in ways) for side in (0, 1))
    return f"{small:.1f}, {large:.1f}", f"{large / small:.2f}"


def _pair(of: tuple[list[float], list[float]]) -> str:
    return f"{median(of[0]):.1f} → {median(of[1]):.1f}"


# --- In the process of a database -------------------------------------------------------------------------------------
def work(rows: int) -> None:
    """Fill the database, tell what can be looked at, then look at what is asked for."""
    prepare()
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import setup_test_environment, teardown_test_environment

    from tests.scale.lists import all_cases
    from tests.scale.population import populate

    call_command("collectstatic", interactive=False, verbosity=0)
    begun = time.monotonic()
    populate(rows)
    print(f"{rows:,} texts made in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    setup_test_environment()
    cases = list(all_cases())
    teardown_test_environment()
    from django.conf import settings

    settings.ALLOWED_HOSTS = ["testserver"]
    _say([[case.face, case.list, case.viewer, case.what] for case in cases])
    for line in sys.stdin:
        times: list[float] = []

        def timed(execute: Any, *arguments: Any, times: list[float] = times) -> Any:
            begun = time.perf_counter()
            try:
                return execute(*arguments)
            finally:
                times.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        with connection.execute_wrapper(timed):
            response = cases[json.loads(line)].get()
        page_ms = (time.perf_counter() - begun) * 1000
        _say([page_ms, sum(times) * 1000, len(times), _rows_of(response)])


def _rows_of(response: Any) -> int:
    """How many rows a page or an answer of the API shows."""
    if response["Content-Type"].startswith("text/html"):
        return int(response.content.count(b"<tr"))
    return len(response.json()["results"])


def _say(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    work(int(sys.argv[2])) if sys.argv[1:2] == ["work"] else main()
