"""Bulk imports of numbers against a simulated carrier: line by line, all or none, and after a worker was killed."""

from __future__ import annotations

import csv
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

from cpaas.models import CpaasNumber, CpaasPlatform, NumberAssignment, NumberImport, NumberImportLine
from cpaas.services import import_work, importing
from cpaas.services.import_work import work_due_imports
from cpaas.services.number_work import work_due_numbers
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from portal import clock
from portal.models import AuditEntry, PortalAccount
from portal.problems import Problem
from portal.tests.admin_walk import browser, url_of
from portal.tests.factories import EndUserFactory, PortalAccountFactory, staff_token
from portal.tests.tenants import Tenant, make_tenant
from tests.sandbox_process import NUMBERS, SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)
HEAD = "number,login,friendly_name,mms,can_block,platform\n"
URL = "/api/v1/provisioning/numbers/import/"


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    return make_tenant("Acme")


@pytest.fixture
def platform(acme: Tenant, sandbox: SandboxProcess) -> CpaasPlatform:
    return CpaasPlatformFactory(
        system_provider=acme.system_provider,
        name="Main",
        credentials=sandbox.credentials,
        options=sandbox.options,
    )


def file_of(acme: Tenant, count: int = 3, more: str = "") -> bytes:
    lines = [f"{tn},{acme.user.login},Line {n},,," for n, tn in enumerate(NUMBERS[:count])]
    return (HEAD + "\n".join(lines) + "\n" + more).encode()


def begin(acme: Tenant, content: bytes | None = None, **options: Any) -> NumberImport:
    return importing.begin_import(actor=acme.administrator, content=content or file_of(acme), **options)


def outcomes(job: NumberImport) -> list[tuple[int, str, str]]:
    return list(job.lines.order_by("line").values_list("line", "status", "code"))


def is_whole(job: NumberImport) -> None:
    """The report, its sums and the numbers say the same."""
    job.refresh_from_db()
    assert job.state == "done"
    taken = job.lines.filter(status="taken")
    assert job.taken == taken.count() == CpaasNumber.objects.filter(pk__in=taken.values("number_id")).count()
    assert job.refused == job.lines.filter(status="refused").count()
    assert job.good == job.lines.filter(status="good").count()
    assert CpaasNumber.objects.count() == NumberAssignment.objects.count()


def test_good_lines_are_taken_and_the_others_say_why_not(acme: Tenant, platform: CpaasPlatform) -> None:
    CpaasNumberFactory(user=acme.user, platform=platform, number=NUMBERS[5])
    before = CpaasNumber.objects.count()
    acme.colleague.licence = "none"
    acme.colleague.save()
    login = acme.user.login
    more = [
        f"2019920789,{login},,,,",
        f"{NUMBERS[5]},{login},,,,",
        f"{NUMBERS[6]},nobody@acme.example,,,,",
        f"{NUMBERS[7]},{acme.colleague.login},,,,",
        f"{NUMBERS[8]},{login},,on,,",
        f"{NUMBERS[9]},{login},,,,Elsewhere",
        f"{NUMBERS[10]},{login.upper()},,,off,Main",
        f"12,{login},,,,",
        f"{NUMBERS[0]},{login},,,,",
    ]
    job = begin(acme, file_of(acme, 2, "\n".join(more)))
    assert work_due_imports() == 10
    assert outcomes(job) == [
        (2, "taken", ""),
        (3, "taken", ""),
        (4, "refused", "number_not_on_account"),
        (5, "refused", "number_not_available"),
        (6, "refused", "not_found"),
        (7, "refused", "not_licensed"),
        (8, "refused", "mms_not_on_platform"),
        (9, "refused", "not_found"),
        (10, "taken", ""),
        (11, "refused", "invalid"),
        (12, "refused", "invalid"),
    ]
    job.refresh_from_db()
    assert (job.state, job.total, job.taken, job.refused) == ("done", 11, 3, 8)
    assert CpaasNumber.objects.count() == before + 3
    assert AuditEntry.objects.filter(action="create", actor_id=acme.administrator.pk).count() == 3
    assert work_due_numbers() == 3
    assert set(CpaasNumber.objects.values_list("status", flat=True)) == {"enabled"}


def test_a_dry_run_asks_the_carrier_and_takes_nothing(acme: Tenant, platform: CpaasPlatform) -> None:
    job = begin(acme, file_of(acme, 2, f"2019920789,{acme.user.login},,,,"), dry_run=True)
    work_due_imports()
    assert [status for _, status, _ in outcomes(job)] == ["good", "good", "refused"]
    assert not CpaasNumber.objects.exists()
    is_whole(job)
    again = importing.import_checked(actor=acme.administrator, job=job)
    work_due_imports()
    assert [status for _, status, _ in outcomes(again)] == ["taken", "taken"]
    is_whole(again)


def test_all_or_none_takes_none_when_a_line_is_wrong(acme: Tenant, platform: CpaasPlatform) -> None:
    job = begin(acme, file_of(acme, 2, f"2019920789,{acme.user.login},,,,"), atomic=True)
    work_due_imports()
    assert [status for _, status, _ in outcomes(job)] == ["not_taken", "not_taken", "refused"]
    is_whole(job)
    assert not CpaasNumber.objects.exists()


def test_all_or_none_takes_all(acme: Tenant, platform: CpaasPlatform) -> None:
    job = begin(acme, atomic=True)
    work_due_imports()
    is_whole(job)
    assert (job.taken, CpaasNumber.objects.count()) == (3, 3)


def test_all_or_none_takes_none_when_one_is_lost_at_the_last_moment(acme: Tenant, platform: CpaasPlatform) -> None:
    job = begin(acme, atomic=True)
    import_work._work(job, import_work._claim(job))
    CpaasNumberFactory(number=NUMBERS[1], user=acme.colleague, platform=platform)
    work_due_imports()
    assert [(status, code) for _, status, code in outcomes(job)] == [
        ("not_taken", ""),
        ("refused", "number_not_available"),
        ("not_taken", ""),
    ]
    assert CpaasNumber.objects.count() == 1


def test_a_killed_worker_s_lines_are_worked_off_by_another_and_nothing_twice(acme: Tenant, platform) -> None:
    """Killed between asking the carrier and writing: its claim runs out. What it had written stays as it is."""
    job = begin(acme)
    lost = import_work._claim(job)
    assert work_due_imports() == 0
    NumberImportLine.objects.filter(job=job).update(due_at=clock.now() - timedelta(seconds=1))
    assert work_due_imports() == 3
    import_work._work(job, lost)  # it was only asleep, and wakes up late
    is_whole(job)
    assert job.taken == CpaasNumber.objects.count() == 3


def test_two_workers_at_once_do_nothing_twice(acme: Tenant, platform: CpaasPlatform) -> None:
    job = begin(acme, file_of(acme, 24))

    def work(_: int) -> str:
        try:
            return import_work.work_until(NumberImport.objects.get(), 60).state
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(work, range(3))) == ["done"] * 3
    is_whole(job)
    assert job.taken == 24


def test_imports_take_one_thread_of_a_worker_and_none_waits_for_another(
    acme: Tenant, platform: CpaasPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_on, beside = import_work._work, set[int]()

    def work_beside(job: NumberImport, lines: list[NumberImportLine]) -> None:
        beside.add(work_due_imports())
        work_on(job, lines)

    monkeypatch.setattr(import_work, "_BATCH", 2)
    monkeypatch.setattr(import_work, "_work", work_beside)
    large, small = begin(acme, file_of(acme, 12)), begin(acme, file_of(acme, 1), dry_run=True)
    assert work_due_imports() == 13
    assert beside == {0}
    large.refresh_from_db()
    small.refresh_from_db()
    assert small.finished_at < large.finished_at


def test_no_import_waits_behind_those_of_another_provider(acme: Tenant, platform, monkeypatch) -> None:
    monkeypatch.setattr(import_work, "_JOBS", 2)
    for _ in range(3):
        begin(acme)
    other = begin(make_tenant("Bolt"), file_of(acme, 1))
    assert other in import_work._next_imports()


def test_a_slow_carrier_keeps_no_line_waiting_for_the_last(acme: Tenant, platform, monkeypatch) -> None:
    """Or of lines that together take longer than the claim none would ever be through."""
    ask, settle, first_is_through = import_work.numbers.ask_carrier, import_work._settle, threading.Event()
    waited = []

    def ask_slowly(carrier: str, account: Any, tn: str) -> None:
        if tn == NUMBERS[2]:
            waited.append(first_is_through.wait(20))
        ask(carrier, account, tn)

    def note(line: NumberImportLine, *arguments: Any, **columns: Any) -> bool:
        done = settle(line, *arguments, **columns)
        first_is_through.set()
        return done

    monkeypatch.setattr(import_work.numbers, "ask_carrier", ask_slowly)
    monkeypatch.setattr(import_work, "_settle", note)
    job = begin(acme)
    work_due_imports()
    assert waited == [True]
    is_whole(job)
    assert job.taken == 3


def test_a_carrier_that_is_away_for_a_moment_refuses_nothing(acme: Tenant, platform, sandbox) -> None:
    sandbox.fault("number", "status", status=503, times=2)
    job = begin(acme)
    while (now := NumberImport.objects.get()).state == "running":
        NumberImportLine.objects.filter(status="waiting").update(due_at=clock.now())
        work_due_imports()
        assert now.refused == 0
    is_whole(job)
    assert NumberImport.objects.get().taken == 3


def test_a_carrier_that_stays_away_is_said_at_each_line(acme: Tenant, platform, sandbox) -> None:
    sandbox.carrier(state="refusing")
    job = begin(acme)
    for _ in range(4):
        NumberImportLine.objects.filter(status="waiting").update(due_at=clock.now())
        work_due_imports()
    assert {code for _, _, code in outcomes(job)} == {"carrier_unreachable"}
    is_whole(job)


def test_nobody_imports_for_users_they_do_not_see(acme: Tenant, platform: CpaasPlatform) -> None:
    content = file_of(acme, 1, f"{NUMBERS[1]},{acme.other_user.login},,,,")
    job = importing.begin_import(actor=acme.accounts["group", "administrator"], content=content)
    work_due_imports()
    assert [(status, code) for _, status, code in outcomes(job)] == [("taken", ""), ("refused", "not_found")]


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": "read_only"}])
def test_an_account_that_lost_its_rights_imports_no_more(acme: Tenant, platform, change: dict[str, Any]) -> None:
    job = begin(acme)
    PortalAccount.objects.filter(pk=acme.administrator.pk).update(**change)
    work_due_imports()
    assert {status for _, status, _ in outcomes(job)} == {"refused"}
    assert not CpaasNumber.objects.exists()


def test_only_a_finished_check_can_be_imported(acme: Tenant, platform: CpaasPlatform) -> None:
    for job in (begin(acme), begin(acme, dry_run=True)):
        with pytest.raises(Problem) as problem:
            importing.import_checked(actor=acme.administrator, job=job)
        assert problem.value.code == "nothing_to_import"


def test_old_imports_are_forgotten(acme: Tenant, platform: CpaasPlatform) -> None:
    old, young = begin(acme), begin(acme)
    NumberImport.objects.filter(pk=old.pk).update(created_at=clock.now() - timedelta(days=91))
    call_command("purge")
    assert NumberImport.objects.get() == young
    assert set(NumberImportLine.objects.values_list("job", flat=True)) == {young.pk}


def test_a_report_is_nothing_that_a_spreadsheet_calculates(acme: Tenant) -> None:
    names = ["+1+cmd|' /C calc'!A0", "=1+1", "-2+3|x", "@SUM(A1)"]
    rows = "".join(f"+1 (201) 992-076{n},{acme.user.login},{name},,,\n" for n, name in enumerate(names))
    job = begin(acme, (HEAD + rows).encode())
    report = list(csv.DictReader(importing.report_as_csv(job.lines.order_by("line"))))
    assert [row["friendly_name"] for row in report] == [f"'{name}" for name in names]
    assert report[0]["number"] == "+1 (201) 992-0760"


class TestRest:
    @pytest.fixture
    def client(self, acme: Tenant, api: Any) -> Any:
        return api(acme.token)

    def test_a_body_and_a_form_are_answered_line_by_line(self, acme: Tenant, platform, client: Any) -> None:
        content = file_of(acme, 2, f"2019920789,{acme.user.login},,,,")
        checked = client.post(f"{URL}?dry_run=1", content, content_type="text/csv")
        assert checked.status_code == 200
        assert [row["status"] for row in checked.json()["results"]] == ["good", "good", "refused"]
        assert not CpaasNumber.objects.exists()
        file = SimpleUploadedFile("numbers.csv", content, "text/csv")
        answer = client.post(URL, {"file": file}, format="multipart")
        assert answer.status_code == 200
        shown = answer.json()
        assert (shown["state"], shown["taken"], shown["refused"], shown["file_name"]) == ("done", 2, 1, "numbers.csv")
        first, _, last = shown["results"]
        assert first["id"] == str(CpaasNumber.objects.get(number=NUMBERS[0]).pk)
        assert (last["line"], last["code"]) == (4, "number_not_on_account")
        assert client.get(f"/api/v1/provisioning/imports/{shown['id']}/").json()["taken"] == 2
        lines = client.get(f"/api/v1/provisioning/imports/{shown['id']}/lines/", {"status": "refused"}).json()
        assert [row["line"] for row in lines["results"]] == [4]

    def test_what_takes_long_goes_on_without_the_caller(self, acme, platform, client, monkeypatch) -> None:
        monkeypatch.setattr("cpaas.api.imports.PATIENCE_S", 0)
        answer = client.post(URL, file_of(acme), content_type="text/csv")
        assert (answer.status_code, answer.json()["state"]) == (202, "running")
        work_due_imports()
        path = f"/api/v1/provisioning/imports/{answer.json()['id']}/"
        assert client.get(path).json()["state"] == "done"

    def test_the_same_key_imports_once(self, acme: Tenant, platform: CpaasPlatform, client: Any) -> None:
        def send(content: bytes) -> Any:
            file = SimpleUploadedFile("numbers.csv", content, "text/csv")
            return client.post(URL, {"file": file}, format="multipart", headers={"idempotency-key": "k1"})

        first, second = send(file_of(acme)), send(file_of(acme))
        assert first.json() == second.json()
        assert NumberImport.objects.count() == 1
        other = send(file_of(acme, 1))
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")

    @pytest.mark.parametrize(
        ("content", "status"), [(b"", 400), (b"\xff\xfe\x00", 400), (b"x" * 3_000_000, 413), (b"x" * 11_000_000, 413)]
    )
    def test_what_is_no_file_of_numbers(self, acme, platform, client, content: bytes, status: int) -> None:
        answer = client.post(URL, content, content_type="text/csv")
        assert answer.status_code == status
        assert not NumberImport.objects.exists()

    def test_flags_files_and_types_that_are_none(self, acme: Tenant, platform, client: Any) -> None:
        assert client.post(f"{URL}?dry_run=yes", file_of(acme), content_type="text/csv").status_code == 400
        assert client.post(URL, {}, format="multipart").status_code == 400
        assert client.post(URL, {"file": "no file"}, format="multipart").status_code == 400
        assert client.post(URL, {"number": "1"}, format="json").status_code == 415

    def test_who_may_only_look_imports_nothing(self, acme: Tenant, platform: CpaasPlatform, api: Any) -> None:
        reader = api(acme.staff_tokens["system_provider", "read_only"])
        answer = reader.post(URL, file_of(acme), content_type="text/csv")
        assert (answer.status_code, answer.json()["code"]) == (403, "read_only")


def test_an_operator_imports_for_every_tenant(acme: Tenant, platform: CpaasPlatform, api: Any) -> None:
    zenith = EndUserFactory()
    content = file_of(acme, 1, f"{NUMBERS[1]},{zenith.login},,,,")
    operator = staff_token(PortalAccountFactory(username="operator"))
    rows = api(operator).post(URL, content, content_type="text/csv").json()["results"]
    assert [(row["status"], row["code"]) for row in rows] == [("taken", ""), ("refused", "no_platform")]


class TestPages:
    @pytest.fixture
    def staff(self, acme: Tenant) -> Any:
        return browser(acme.accounts["group", "administrator"])

    def upload(self, staff: Any, content: bytes, **more: str) -> Any:
        file = SimpleUploadedFile("numbers.csv", content, "text/csv")
        return staff.post(reverse("admin:cpaas_numberimport_add"), {"file": file, **more})

    def test_checked_looked_at_and_taken(self, acme: Tenant, platform: CpaasPlatform, staff: Any) -> None:
        content = file_of(acme, 2, f"2019920789,{acme.user.login},,,,")
        page = self.upload(staff, content, dry_run="on")["Location"]
        shown = staff.get(page).content.decode()
        assert "0 of 3 lines" in shown
        assert 'hx-trigger="every 2s"' in shown
        job = NumberImport.objects.get()
        assert "hx-get" in staff.get(url_of(job, "progress")).content.decode()
        work_due_imports()
        assert staff.get(url_of(job, "progress"))["HX-Refresh"] == "true"
        shown = staff.get(page).content.decode()
        for words in ("<strong>2</strong> of 3 lines could be taken", "not assigned to this Inteliquent account"):
            assert words in shown
        assert "Import these 2 numbers" in shown
        earnest = staff.post(url_of(job, "take"))["Location"]
        work_due_imports()
        shown = staff.get(earnest).content.decode()
        assert "<strong>2</strong> of 2 numbers were added" in shown
        assert url_of(CpaasNumber.objects.first(), "detail") in shown
        report = b"".join(staff.get(url_of(job, "report")).streaming_content).decode()
        assert report.splitlines()[3].startswith("4,2019920789,")

    def test_a_file_that_is_none_is_refused_at_its_field(self, acme: Tenant, platform, staff: Any) -> None:
        refused = self.upload(staff, b"\x89PNG\r\n")
        assert "name the columns" in refused.context["form"].errors["file"][0]
        assert "file" in staff.post(reverse("admin:cpaas_numberimport_add"), {}).context["form"].errors

    def test_who_may_only_look_uploads_nothing(self, acme: Tenant, platform: CpaasPlatform) -> None:
        reader = browser(acme.accounts["group", "read_only"])
        assert reader.get(reverse("admin:cpaas_numberimport_add")).status_code == 403
        assert self.upload(reader, file_of(acme)).status_code == 403
