"""Rule 7: every list, filter and search costs the same at ten thousand rows and at five million.

Not by the clock, but by how many statements a list makes and how many rows PostgreSQL touches for each of them: that
must not depend on how many there are.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cpaas.models import Message
from tests.scale.lists import Case, all_cases
from tests.scale.plans import scans
from tests.scale.population import populate

MOST_QUERIES = 8
# A page is 51 rows, a search takes up to 200, and one row in ten is still a common one. A tenant here has thousands.
MOST_ROWS = 600


@pytest.mark.django_db
def test_no_list_touches_more_rows_the_more_there_are() -> None:
    """Which lists there are is found by what is registered; a new one needs no line here."""
    populate(50_000, users_a_group=2)
    with connection.cursor() as cursor:
        # As on large tables: nothing is read as a whole, and an index costs what it does when it is in memory.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL random_page_cost = 1.1")
    seen: set[str] = set()
    cases = list(all_cases())
    wrong = [f"{case}: {fault}" for case in cases for fault in _faults(case, seen)]
    assert not wrong, "\n".join(wrong)
    # R40: a word that hardly any text has does not make the whole span be read.
    Message.objects.filter(pk=Message.objects.latest("pk").pk).update(text="To Zanzibar!")
    searches = [case for case in cases if case.list.endswith("message-log/") and case.what == "text=…"]
    rare = [replace(case, url=re.sub("text=[^&]*", "text=zanzibar", case.url)) for case in searches]
    of_provider = [case for case in rare if case.viewer == "system_provider"]
    assert of_provider
    assert not [fault for case in of_provider for fault in _faults(case, seen)]
    assert len(of_provider[0].get().json()["results"]) == 1
    # That it bites: without its indexes, a filter walks through the whole provider.
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; DROP INDEX number_status_all, number_status_sp")
    numbers = [case for case in cases if case.list.startswith("CPaaS Numbers")]
    failed = [case for case in numbers if (case.viewer, case.what) == ("system_provider", "status: Failed")]
    assert failed
    assert all(_faults(case, set()) for case in failed)


def _faults(case: Case, seen: set[str]) -> list[str]:
    """What makes the list dearer than a list may be. Statements in `seen` were looked at before."""
    with CaptureQueriesContext(connection) as captured:
        case.get()
    found = [] if len(captured) <= MOST_QUERIES else [f"{len(captured)} queries"]
    new = {query["sql"] for query in captured if query["sql"].lstrip().startswith("SELECT")} - seen
    seen |= new
    for statement in new:
        found += [f"{scan} in {statement}" for scan in scans(statement) if scan.rows > MOST_ROWS]
    return found
