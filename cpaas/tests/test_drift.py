"""Numbers are compared with their carrier: hook, ownership, messaging class and campaign (R44)."""

from __future__ import annotations

from typing import Any

import pytest

from cpaas import transport
from cpaas.carriers.base import Refused
from cpaas.carriers.inteliquent.adapter import Inteliquent
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform
from cpaas.services import drift, drift_rounds
from cpaas.services.number_work import work_due_numbers
from cpaas.services.numbers import assign_number
from cpaas.tests.factories import CpaasNumberFactory
from portal import clock
from portal.models import AuditEntry, OutgoingMail, PortalAccount
from portal.problems import Problem
from portal.tests.admin_walk import browser, url_of
from portal.tests.factories import EndUserFactory, PortalAccountFactory, staff_token
from tests.sandbox_process import NUMBERS, SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)
ELSEWHERE = "https://old-provider.example/hook/very-secret"
A2P = "+12019920777"


@pytest.fixture
def staff(platform: CpaasPlatform) -> PortalAccount:
    return PortalAccountFactory(scope=platform.system_provider, send_alerts=True)


def check(number: CpaasNumber) -> drift.Finding:
    finding = drift.check_number(actor=None, number=CpaasNumber.objects.get(pk=number.pk))
    number.refresh_from_db()
    return finding


def set_hook(number: CpaasNumber, url: str = "") -> None:
    account = number.platform.account()
    if url:
        account = type(account)(account.credentials, account.options, url, url)
    transport.run(get_carrier("inteliquent").set_hook(account, number.number))


def calls(sandbox: SandboxProcess) -> list[str]:
    return [row["path"].rsplit("/", 1)[1] for row in sandbox.call("GET", "/inteliquent/requests/")["results"]]


def test_r44_all_is_well(number: CpaasNumber) -> None:
    set_hook(number)
    assert check(number) == drift.Finding("ok", True, "P2P", "", [])
    assert (number.hook_state, number.messaging_class, number.needs_attention) == ("ok", "P2P", False)
    assert number.checked_at is not None


def test_r44_an_own_hook_that_is_missing_is_set_again_and_noted(number: CpaasNumber, sandbox: SandboxProcess) -> None:
    assert check(number).hook == "set_again"
    assert [hook["url"] for hook in sandbox.hooks()] == [number.platform.inbound_url]
    assert AuditEntry.objects.get(action="check").after["hook_state"] == "set_again"
    assert check(number).hook == "ok"


def test_r44_a_hook_of_an_earlier_address_of_ours_is_replaced(number: CpaasNumber, sandbox: SandboxProcess) -> None:
    set_hook(number, number.platform.inbound_url.replace("://", "://former."))
    assert check(number).hook == "set_again"
    assert [hook["url"] for hook in sandbox.hooks()] == [number.platform.inbound_url]


def test_r44_a_foreign_hook_is_shown_and_never_overwritten_in_silence(number: CpaasNumber, sandbox) -> None:
    set_hook(number, ELSEWHERE)
    finding = check(number)
    assert (finding.hook, number.needs_attention) == ("foreign", True)
    assert "old-provider.example" in number.warnings[0]
    assert "very-secret" not in number.warnings[0]
    drift_rounds.begin_rounds()
    drift_rounds.work_due_rounds()
    assert [hook["url"] for hook in sandbox.hooks()] == [ELSEWHERE]
    drift.take_hook(actor=None, number=number)
    number.refresh_from_db()
    assert (number.hook_state, number.warnings) == ("ok", [])
    assert [hook["url"] for hook in sandbox.hooks()] == [number.platform.inbound_url]


def test_r44_a_foreign_hook_may_be_anything(number: CpaasNumber) -> None:
    set_hook(number, "http://[old-provider/hook")
    assert check(number).hook == "foreign"
    assert "an unreadable address" in number.warnings[0]


def test_r44_a_number_that_is_gone_fails_and_the_alert_accounts_are_told_once(number, sandbox, staff) -> None:
    sandbox.call("DELETE", f"/inteliquent/numbers/{number.number}/")
    for _ in range(2):
        finding = check(number)
        assert (finding.owned, finding.hook) == (False, "missing")
    assert (number.status, "not assigned to this Inteliquent account" in number.status_detail) == ("failed", True)
    mail = OutgoingMail.objects.get()
    assert (mail.to, number.national in mail.subject) == (staff.email, True)
    assert number.user.name in mail.text
    assert sandbox.hooks() == []


def test_a_hook_that_was_taken_without_an_answer_is_in_the_audit_trail(number: CpaasNumber, sandbox) -> None:
    set_hook(number, ELSEWHERE)
    sandbox.fault("unhook", "reset")
    with pytest.raises(Problem):
        drift.take_hook(actor=None, number=number)
    assert number.platform.inbound_url in [hook["url"] for hook in sandbox.hooks()]
    assert AuditEntry.objects.filter(action="take_hook").count() == 1


def test_r44_a2p_without_a_campaign_is_a_warning(platform: CpaasPlatform, sandbox: SandboxProcess) -> None:
    number = CpaasNumberFactory(
        number=A2P, platform=platform, group__reseller__system_provider=platform.system_provider
    )
    set_hook(number)
    assert "no 10DLC campaign" in check(number).warnings[0]
    state = {"status": "in_service", "messaging": "SMSMMS", "class": "A2PLC", "campaign": "CLLOE4H"}
    sandbox.call("PUT", f"/inteliquent/numbers/{A2P}/", state)
    finding = check(number)
    assert (finding.campaign, finding.warnings) == ("CLLOE4H", [])
    CpaasPlatform.objects.update(options={**platform.options, "campaign_id": "COTHER1"})
    assert "COTHER1" in check(number).warnings[0]


def test_facts_4_2_the_warning_is_there_as_soon_as_the_number_is_provisioned(platform: CpaasPlatform) -> None:
    user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    number = assign_number(actor=None, user=user, number=A2P)
    work_due_numbers()
    number.refresh_from_db()
    assert (number.status, number.messaging_class, number.needs_attention) == ("enabled", "A2PLC", True)


def test_a_carrier_that_lists_no_campaigns_hinders_neither_provisioning_nor_comparing(
    platform: CpaasPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, account: Any) -> Any:
        raise Refused("10DLC is not open to this account.", "403")
        yield

    monkeypatch.setattr(Inteliquent, "list_campaigns", refuse)
    user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    number = assign_number(actor=None, user=user, number=A2P)
    work_due_numbers()
    number.refresh_from_db()
    assert (number.status, number.messaging_class, number.warnings) == ("enabled", "A2PLC", [])
    set_hook(number, number.platform.inbound_url.replace("://", "://former."))
    drift_rounds.begin_rounds()
    assert drift_rounds.work_due_rounds() == 1
    number.refresh_from_db()
    assert number.hook_state == "set_again"


def test_r44_messaging_that_was_switched_off_is_a_warning(number: CpaasNumber, sandbox: SandboxProcess) -> None:
    set_hook(number)
    sandbox.call("PUT", f"/inteliquent/numbers/{number.number}/", {"status": "pending", "messaging": ""})
    service, messaging = check(number).warnings
    assert "not in service: Pending" in service
    assert "not switched on" in messaging


def test_a_hook_that_cannot_be_set_again_is_missing(number: CpaasNumber, sandbox: SandboxProcess) -> None:
    sandbox.fault("hook", "status", status=503, times=None)
    finding = check(number)
    assert (finding.hook, len(finding.warnings)) == ("missing", 1)


@pytest.mark.parametrize("state", ["refusing", "unavailable"])
def test_a_carrier_that_is_away_changes_nothing(number: CpaasNumber, sandbox: SandboxProcess, state: str) -> None:
    sandbox.carrier(state=state)
    with pytest.raises(Problem) as problem:
        check(number)
    assert (problem.value.code, problem.value.status) == ("carrier_unreachable", 502)
    drift_rounds.begin_rounds()
    drift_rounds.work_due_rounds()
    number.refresh_from_db()
    assert (number.status, number.hook_state) == ("enabled", "")
    assert CpaasPlatform.objects.get().comparing_due_at > clock.now()


class TestRounds:
    @pytest.fixture
    def numbers(self, platform: CpaasPlatform) -> list[CpaasNumber]:
        user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
        found = [CpaasNumberFactory(number=tn, user=user, platform=platform) for tn in NUMBERS[:5]]
        for number in found:
            set_hook(number)
        return found

    def test_one_platform_costs_few_calls_whatever_its_numbers(self, numbers, sandbox) -> None:
        before = len(calls(sandbox))
        drift_rounds.begin_rounds()
        assert drift_rounds.work_due_rounds() == 5
        assert sorted(calls(sandbox)[before:]) == ["selectAuthorization", "tnDetail", "tnMessagingCampaignList"]
        assert set(CpaasNumber.objects.values_list("hook_state", flat=True)) == {"ok"}
        platform = CpaasPlatform.objects.get()
        assert (platform.comparing_due_at, platform.compared_at is not None) == (None, True)
        assert drift_rounds.work_due_rounds() == 0

    def test_a_killed_worker_s_round_goes_on_where_it_was(self, numbers) -> None:
        """It had compared three, and its claim has run out."""
        CpaasPlatform.objects.update(comparing_due_at=clock.now(), compared_up_to=numbers[2].pk)
        assert drift_rounds.work_due_rounds() == 2
        checked = CpaasNumber.objects.filter(hook_state="ok").values_list("number", flat=True)
        assert set(checked) == {number.number for number in numbers[3:]}

    def test_a_slow_carrier_s_round_is_nobody_else_s_either(self, numbers, monkeypatch) -> None:
        """It says that it goes on while it does, or it would begin anew with every claim that runs out."""
        look, seen = drift.look_at, list[Any]()

        def look_and_note(number: CpaasNumber, survey: Any) -> drift.Finding:
            seen.append(CpaasPlatform.objects.get().compared_up_to)
            return look(number, survey)

        monkeypatch.setattr(drift_rounds, "_HOLD_EVERY_S", 0)
        monkeypatch.setattr(drift, "look_at", look_and_note)
        drift_rounds.begin_rounds()
        assert drift_rounds.work_due_rounds() == 5
        assert seen == [None, *(number.pk for number in numbers[:4])]

    def test_a_round_under_way_is_nobody_else_s(self, numbers) -> None:
        drift_rounds.begin_rounds()
        [row] = CpaasPlatform.objects.all()
        CpaasPlatform.objects.update(comparing_due_at=clock.now() + drift_rounds._CLAIM)
        assert drift_rounds.work_due_rounds() == 0
        drift_rounds.begin_rounds()
        assert CpaasPlatform.objects.get().comparing_due_at > row.comparing_due_at

    def test_a_round_that_finds_nothing_new_writes_nothing(self, numbers) -> None:
        for _ in range(2):
            drift_rounds.begin_rounds()
            drift_rounds.work_due_rounds()
            times = set(CpaasNumber.objects.values_list("checked_at", flat=True))
        assert len(times) == 5
        assert max(times) < CpaasPlatform.objects.get().compared_at
        assert not AuditEntry.objects.filter(action="check").exists()


class TestFaces:
    def test_rest(self, number: CpaasNumber, api: Any, staff: PortalAccount) -> None:
        answer = api(staff_token(staff)).post(f"/api/v1/provisioning/numbers/{number.pk}/check/")
        assert (answer.status_code, answer.json()) == (
            200,
            {"hook": "set_again", "owned": True, "messaging_class": "P2P", "campaign": "", "warnings": []},
        )

    def test_rest_refuses_a_number_on_its_way(self, number: CpaasNumber, api: Any, staff: PortalAccount) -> None:
        CpaasNumber.objects.update(status="provisioning")
        answer = api(staff_token(staff)).post(f"/api/v1/provisioning/numbers/{number.pk}/check/")
        assert (answer.status_code, answer.json()["code"]) == (409, "number_not_ready")

    def test_pages(self, number: CpaasNumber, staff: PortalAccount) -> None:
        set_hook(number, ELSEWHERE)
        client = browser(staff)
        assert "Lead texts here" not in client.get(url_of(number, "detail")).content.decode()
        shown = client.post(url_of(number, "check_at_carrier"), follow=True).content.decode()
        assert "led to old-provider.example" in shown
        assert "differ" in client.get("/").content.decode()
        assert number.display in client.get("/numbers/?carrier=differs").content.decode()
        assert "gets none any more" in client.get(url_of(number, "take_hook_confirm")).content.decode()
        client.post(url_of(number, "take_hook"))
        shown = client.get(url_of(number, "detail")).content.decode()
        assert "led to old-provider.example" not in shown
        assert "P2P" in shown

    def test_s4_2_the_page_says_why_an_unlicensed_user_s_number_stands_still(self, number, staff) -> None:
        number.user.licence = "none"
        number.user.save()
        assert "texts that arrive are held" in browser(staff).get(url_of(number, "detail")).content.decode()
