"""The task worker killed in the middle of what it does in the background: numbers at the carrier, and mail."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.stage import TASK_THREADS, Stage
from tests.faults.traffic import Town
from tests.sandbox_process import wait_for

pytestmark = pytest.mark.fault
NUMBERS = 6
MAILS = 120
ASLEEP_S = 30


@pytest.fixture
def slow_carrier(town: Town) -> Iterator[None]:
    town.carrier.reset()
    town.carrier.set(latency_ms=1000)
    yield
    town.carrier.set(latency_ms=0)


def lapse(stage: Stage) -> None:
    """The claims of the dead run out, which takes two minutes."""
    stage.rows("UPDATE cpaas_cpaasnumber SET next_try_at = now() WHERE claim IS NOT NULL RETURNING 1")
    stage.rows("UPDATE portal_outgoingmail SET next_at = now() WHERE state = 'queued' RETURNING 1")


def test_numbers_being_set_up_and_removed(stage: Stage, town: Town, slow_carrier: None) -> None:
    """S4.31, S4.40: each hook is set, or gone, in the end; the same number added again is Enabled in the end."""
    tenant = town.tenant
    numbers = [town.carrier.new_number() for _ in range(NUMBERS)]
    user = tenant.new_user("background")
    rows = [tenant.staff.post("numbers/", {"number": number, "user": user["id"]}) for number in numbers]
    wait_for(lambda: town.carrier.hooks(numbers[0]), what="the first hook")
    stage.tasks.kill()
    statuses = Counter(tenant.staff.get(f"numbers/{row['id']}/")["status"] for row in rows)
    assert statuses["provisioning"], "killed too late to mean anything"
    lapse(stage)
    stage.tasks.start()
    for row in rows:
        tenant.wait_for_status(row["id"], "enabled")
    assert all(len(town.carrier.hooks(number)) == 1 for number in numbers)

    for row in rows:
        tenant.staff.delete(f"numbers/{row['id']}/", status=202)
    wait_for(lambda: not all(town.carrier.hooks(number) for number in numbers), what="the first hook to go")
    stage.tasks.kill()
    assert any(town.carrier.hooks(number) for number in numbers), "killed too late to mean anything"
    again = tenant.staff.post("numbers/", {"number": numbers[-1], "user": user["id"]})
    lapse(stage)
    stage.tasks.start()
    tenant.wait_for_status(again["id"], "enabled")
    wait_for(lambda: not any(town.carrier.hooks(number) for number in numbers[:-1]), what="all hooks to go")
    assert len(town.carrier.hooks(numbers[-1])) == 1
    left = "SELECT number FROM cpaas_cpaasnumber WHERE number = ANY(%s)"
    wait_for(lambda: [row["number"] for row in stage.rows(left, numbers)] == numbers[-1:], what="the rows to go")


def test_a_task_worker_asleep_while_another_one_does_its_work(stage: Stage, town: Town, slow_carrier: None) -> None:
    """S4.31, for longer than the carrier's time-out: what it does when it wakes up late changes nothing any more."""
    tenant = town.tenant
    numbers = [town.carrier.new_number() for _ in range(NUMBERS)]
    user = tenant.new_user("late")
    rows = [tenant.staff.post("numbers/", {"number": number, "user": user["id"]}) for number in numbers]
    in_work = "SELECT 1 FROM cpaas_cpaasnumber WHERE number = ANY(%s) AND status = 'provisioning' AND claim IS NOT NULL"
    stage.tasks.pause_when(lambda: len(stage.rows(in_work, numbers)))
    asleep_since = time.monotonic()
    lapse(stage)
    stage.more_tasks.start()
    try:
        for row in rows:
            tenant.wait_for_status(row["id"], "enabled")
        time.sleep(max(ASLEEP_S - (time.monotonic() - asleep_since), 0))
    finally:
        stage.more_tasks.kill()
    stage.tasks.resume()
    # In order: what it had begun is over then.
    stage.tasks.end()
    stage.tasks.start()
    done = "SELECT object_id FROM portal_auditentry WHERE action = 'enabled' AND object_id::text = ANY(%s)"
    assert Counter(str(row["object_id"]) for row in stage.rows(done, [row["id"] for row in rows])) == Counter(
        row["id"] for row in rows
    )
    assert [len(town.carrier.hooks(number)) for number in numbers] == [1] * NUMBERS
    assert {tenant.staff.get(f"numbers/{row['id']}/")["status"] for row in rows} == {"enabled"}


def test_a_task_worker_asleep_in_the_middle_of_a_transaction(stage: Stage, town: Town) -> None:
    """What it has locked is free again after 10 s, and what it does when it wakes up changes nothing any more."""
    tenant = town.tenant
    number, user = town.carrier.new_number(), tenant.new_user("in the middle")
    with stage.slow_inserts("portal_auditentry", "NEW.action = 'enabled'", 4):
        row = tenant.staff.post("numbers/", {"number": number, "user": user["id"]})
        in_the_middle = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        stage.tasks.pause_when(lambda: len(stage.rows(in_the_middle)))
        lapse(stage)
        stage.more_tasks.start()
        try:
            tenant.wait_for_status(row["id"], "enabled")
        finally:
            stage.more_tasks.kill()
    stage.tasks.resume()
    stage.tasks.end()
    stage.tasks.start()
    done = "SELECT 1 FROM portal_auditentry WHERE action = 'enabled' AND object_id::text = %s"
    assert len(stage.rows(done, row["id"])) == 1
    assert len(town.carrier.hooks(number)) == 1
    assert tenant.staff.get(f"numbers/{row['id']}/")["status"] == "enabled"


def test_mail_goes_out_at_least_once(stage: Stage, town: Town) -> None:
    """S1.8: no alert is lost, and only one whose sender died right after the server took it may come twice."""
    stage.rows(
        """INSERT INTO portal_outgoingmail (id, created_at, "to", subject, text, state, tries, next_at, last_error)
           SELECT gen_random_uuid(), now(), 'alerts@mail.example', 'alert ' || n, 'text', 'queued', 0, now(), ''
           FROM generate_series(1, %s) n RETURNING 1""",
        MAILS,
    )

    def arrived() -> Counter[str]:
        return Counter(mail["subject"] for mail in town.carrier.mails("alerts@mail.example"))

    wait_for(lambda: len(arrived()) >= 3, what="the first mails")
    stage.tasks.kill()
    assert len(arrived()) < MAILS, "killed too late to mean anything"
    lapse(stage)
    stage.tasks.start()
    sent = "SELECT count(*) AS n FROM portal_outgoingmail WHERE state = 'sent' AND subject LIKE 'alert %%'"
    wait_for(lambda: stage.rows(sent)[0]["n"] == MAILS, what="all mails to be sent")
    assert len(arrived()) == MAILS
    assert sum(arrived().values()) <= MAILS + TASK_THREADS
