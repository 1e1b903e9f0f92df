"""Web servers and workers killed in the middle of a bulk import, and while a number is deleted or transferred."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests

from tests.faults.stage import Stage
from tests.faults.traffic import Town
from tests.sandbox_process import wait_for

pytestmark = pytest.mark.fault
LINES = 100
_JOBS = "SELECT id::text, state, total, taken, refused FROM cpaas_numberimport WHERE file_name = %s"


def test_a_bulk_import_goes_on_where_it_was(stage: Stage, town: Town) -> None:
    """Web server and task worker killed amid 100 lines: each number is there once, and the report says so."""
    town.carrier.reset()
    town.carrier.set(latency_ms=400)
    numbers = [town.carrier.new_number() for _ in range(LINES)]
    login = town.tenant.new_user("imported")["login"]
    table = "number,login\n" + "".join(f"{number},{login}\n" for number in numbers)
    sender = threading.Thread(target=_upload, args=(town, "killed.csv", table))
    sender.start()
    wait_for(lambda: any(job["taken"] > 5 for job in stage.rows(_JOBS, "killed.csv")), what="the first lines")
    stage.web.kill()
    stage.tasks.kill()
    sender.join()
    [job] = stage.rows(_JOBS, "killed.csv")
    assert job["taken"] < LINES, "killed too late to mean anything"
    # The claims of the dead run out, which takes two minutes.
    stage.rows("UPDATE cpaas_numberimportline SET due_at = now() WHERE claim IS NOT NULL RETURNING 1")
    town.carrier.set(latency_ms=0)
    stage.web.start()
    stage.tasks.start()
    wait_for(lambda: stage.rows(_JOBS, "killed.csv")[0]["state"] == "done", what="the import to be done")
    [job] = stage.rows(_JOBS, "killed.csv")
    assert (job["total"], job["taken"], job["refused"]) == (LINES, LINES, 0)
    there = "SELECT number, id::text FROM cpaas_cpaasnumber WHERE number = ANY(%s)"
    reported = "SELECT number_id::text AS id FROM cpaas_numberimportline WHERE job_id::text = %s"
    rows = stage.rows(there, numbers)
    assert sorted(row["number"] for row in rows) == sorted(numbers)
    assert {row["id"] for row in rows} == {row["id"] for row in stage.rows(reported, job["id"])}
    made = "SELECT 1 FROM portal_auditentry WHERE action = 'create' AND object_id::text = ANY(%s)"
    assert len(stage.rows(made, [row["id"] for row in rows])) == LINES


def _upload(town: Town, name: str, table: str) -> None:
    staff = town.tenant.staff
    try:
        requests.post(
            f"{staff.url}/api/v1/provisioning/numbers/import/",
            files={"file": (name, table)},
            headers={"Authorization": f"Bearer {staff.token}"},
            timeout=60,
        )
    except requests.RequestException:
        return  # its web server was killed


@pytest.mark.parametrize("action", ["delete", "transfer"])
def test_a_deletion_or_transfer_is_whole_or_nothing(stage: Stage, town: Town, action: str) -> None:
    """Web server killed between deleting the messages and the commit: all is as it was, and asking again does it."""
    tenant, carrier = town.tenant, town.carrier
    carrier.reset()
    other = tenant.new_user(f"heir{len(action)}")
    number = tenant.number(tenant.new_user(f"giver{len(action)}"))
    carrier.inbound("+17036089795", number["number"], f"before the {action}")
    with stage.slow_inserts("portal_auditentry", f"NEW.action = '{action}'", 10):
        sender = threading.Thread(target=_quietly, args=(tenant, number, action, other))
        sender.start()
        in_the_middle = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        wait_for(lambda: stage.rows(in_the_middle), what=f"the {action} to be in the middle of its transaction")
        stage.web.kill()
        sender.join()
        wait_for(lambda: not stage.rows(in_the_middle), what="its transaction to be gone")
    stage.web.start()
    stage.wait_until_whole()
    row = tenant.staff.get(f"numbers/{number['id']}/")
    assert (row["status"], row["user"], row["message_count"]) == ("enabled", number["user"], 1)
    assert _ask(tenant, number, action, other).ok
    if action == "transfer":
        row = tenant.staff.get(f"numbers/{number['id']}/")
        assert (row["user"], row["message_count"], row["opt_in"]["state"]) == (other["id"], 0, "pending")
        return
    wait_for(lambda: not carrier.hooks(number["number"]), what="its hook to go")
    gone = "SELECT 1 FROM cpaas_cpaasnumber WHERE number = %s"
    wait_for(lambda: not stage.rows(gone, number["number"]), what="its row to go")


def _ask(tenant: Any, number: Any, action: str, other: Any) -> requests.Response:
    path = f"numbers/{number['id']}/"
    if action == "delete":
        answer: requests.Response = tenant.staff.call("DELETE", path)
        return answer
    return tenant.staff.call("POST", f"{path}transfer/", {"user": other["id"], "delete_messages": True})


def _quietly(tenant: Any, number: Any, action: str, other: Any) -> None:
    try:
        _ask(tenant, number, action, other)
    except requests.RequestException:
        return  # its web server was killed
