"""The database's clock is the one that counts (portal.clock)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection, transaction

from portal import clock

pytestmark = pytest.mark.django_db


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("days", [-400, 400])
def test_a_machine_with_a_wrong_clock_knows_the_time(days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_heard", None)
    right = datetime.now(UTC)
    connection.close()
    with time_machine.travel(right + timedelta(days=days)):
        assert abs(clock.now() - right) < timedelta(hours=1)


def test_the_time_is_heard_again_now_and_then_and_costs_no_counted_query(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries
) -> None:
    wrong = clock._Heard(datetime(2001, 1, 1, tzinfo=UTC), time.clock_gettime(clock._STEADY) - 2 * clock.HEARD_FOR_S)
    connection.ensure_connection()
    monkeypatch.setattr(clock, "_heard", wrong)
    with django_assert_num_queries(0):
        assert clock.now().year > 2001
    assert clock._heard is not wrong


def test_with_the_database_away_the_time_goes_on_from_what_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = clock._Heard(datetime(2001, 1, 1, tzinfo=UTC), time.clock_gettime(clock._STEADY) - 2 * clock.HEARD_FOR_S)
    monkeypatch.setattr(clock, "_heard", long_ago)
    with transaction.atomic():
        connection.connection.close()
        assert clock.now().year == 2001
        transaction.set_rollback(True)
