"""Assigning, provisioning and removing numbers against a simulated carrier (S4.23–S4.32, S4.39–S4.41, R12)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from cpaas.models import Conversation, CpaasNumber, CpaasPlatform, Message, OptInEvidence, WebhookEvent
from cpaas.services import number_work
from cpaas.services.number_work import work_due_numbers
from cpaas.services.numbers import assign_number, delete_messages, delete_number, message_counts, retry_number
from cpaas.services.opt_in import record_opt_in
from cpaas.tests.factories import CpaasPlatformFactory, MediaStreamFactory
from portal import clock
from portal.models import EndUser, IdempotencyKey
from portal.problems import Problem
from portal.services.users import delete_user
from portal.tests.factories import EndUserFactory
from tests.sandbox_process import NUMBERS, SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)
S4_29 = (
    "This number is not assigned to this Inteliquent account, please check the number and try again or check with the "
    "Inteliquent customer portal for more information"
)


@pytest.fixture
def user(platform: CpaasPlatform) -> EndUser:
    return EndUserFactory(group__reseller__system_provider=platform.system_provider)


def assign(user: EndUser, number: str = "(201) 992-0760", **more: object) -> CpaasNumber:
    return assign_number(actor=None, user=user, number=number, **more)


def code_of(call) -> str:
    with pytest.raises(Problem) as problem:
        call()
    return problem.value.code


def test_s4_24_to_s4_31_ten_digits_become_an_enabled_number_with_its_hook(user, sandbox) -> None:
    number = assign(user)
    assert (number.number, number.status, number.opt_in_state) == ("+12019920760", "provisioning", "pending")
    assert (number.display, number.national) == ("2019920760", "2019920760")
    assert work_due_numbers() == 1
    number.refresh_from_db()
    assert number.status == "enabled"
    hook = sandbox.hooks()[0]
    assert (hook["tn"], hook["url"]) == ("12019920760", number.platform.inbound_url)


def test_s4_29_a_number_of_somebody_else_stops_the_process(user) -> None:
    with pytest.raises(Problem) as problem:
        assign(user, "2019920789")
    assert (problem.value.code, problem.value.detail) == ("number_not_on_account", S4_29)
    assert not CpaasNumber.objects.exists()


@pytest.mark.parametrize("raw", ["", "201992076", "abc", "1-800-FLOWERS", "+1", "2019920760\x00", "9" * 100])
def test_s4_24_what_is_no_number_is_refused(user, raw) -> None:
    assert code_of(lambda: assign(user, raw)) == "invalid"


def test_s4_41_a_number_is_used_once_whoever_has_it(user, sandbox) -> None:
    assign(user)
    other_platform = CpaasPlatformFactory(credentials=sandbox.credentials, options=sandbox.options)
    stranger = EndUserFactory(group__reseller__system_provider=other_platform.system_provider)
    with pytest.raises(Problem) as problem:
        assign(stranger)
    assert (problem.value.code, problem.value.detail) == ("number_not_available", "This number is not available.")


def test_s4_41_two_at_the_same_moment(user) -> None:
    def try_it(_: int) -> str:
        try:
            assign(user)
        except Problem as problem:
            return problem.code
        finally:
            connection.close()
        return "assigned"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(try_it, range(4))) == ["assigned"] + ["number_not_available"] * 3


def test_s4_23_without_a_platform_there_is_nothing_to_assign_through(sandbox) -> None:
    assert code_of(lambda: assign(EndUserFactory())) == "no_platform"


def test_s4_27_several_platforms_must_be_chosen_from(user, platform) -> None:
    second = CpaasPlatformFactory(
        system_provider=platform.system_provider, credentials=platform.credentials, options=platform.options
    )
    assert code_of(lambda: assign(user)) == "platform_required"
    assert assign(user, platform=second).platform == second


def test_a_platform_of_another_tenant_does_not_exist(user, sandbox) -> None:
    foreign = CpaasPlatformFactory(credentials=sandbox.credentials, options=sandbox.options)
    assert code_of(lambda: assign(user, platform=foreign)) == "not_found"


def test_s4_2_a_user_without_licence_gets_no_number(user) -> None:
    EndUser.objects.update(licence="none")
    user.refresh_from_db()
    assert code_of(lambda: assign(user)) == "not_licensed"


def test_r12_mms_cannot_be_on_when_the_platform_is_off(user) -> None:
    assert code_of(lambda: assign(user, mms="on")) == "mms_not_on_platform"
    CpaasPlatform.objects.update(mms=True)
    assert assign(user, mms="on").messaging_type == "MMS & SMS"


def test_s4_13_media_streams_are_not_asked(platform) -> None:
    stream = MediaStreamFactory(group__reseller__system_provider=platform.system_provider)
    number = assign_number(actor=None, media_stream=stream, number="2019920760")
    assert number.opt_in_state == "not_required"


def test_s4_12_nobody_is_asked_when_the_platform_says_so(user) -> None:
    CpaasPlatform.objects.update(user_confirmation_required=False)
    assert assign(user).opt_in_state == "not_required"


@pytest.mark.parametrize("state", ["refusing", "unavailable"])
def test_a_carrier_that_cannot_be_asked_saves_nothing(user, sandbox, state) -> None:
    sandbox.carrier(state=state)
    assert code_of(lambda: assign(user)) == "carrier_unreachable"
    assert not CpaasNumber.objects.exists()


def test_r29_a_number_without_messaging_fails_with_the_reason_and_can_be_retried(user, sandbox) -> None:
    tn = "+12019920795"
    sandbox.call("PUT", f"/inteliquent/numbers/{tn}/", {"status": "in_service", "messaging": ""})
    number = assign(user, tn)
    work_due_numbers()
    number.refresh_from_db()
    assert number.status == "failed"
    assert "Inteliquent" in number.status_detail
    sandbox.call("PUT", f"/inteliquent/numbers/{tn}/", {"status": "in_service", "messaging": "SMSMMS"})
    retry_number(actor=None, number=number)
    work_due_numbers()
    number.refresh_from_db()
    assert number.status == "enabled"


def test_provisioning_waits_for_a_carrier_that_is_down(user, sandbox) -> None:
    number = assign(user)
    sandbox.carrier(state="refusing")
    work_due_numbers()
    number.refresh_from_db()
    assert (number.status, bool(number.status_detail)) == ("provisioning", True)
    sandbox.carrier(state="up")
    CpaasNumber.objects.update(next_try_at=clock.now())
    work_due_numbers()
    number.refresh_from_db()
    assert (number.status, number.status_detail) == ("enabled", "")


def test_a_single_number_does_not_wait_for_many_of_another_carrier_account(
    user, sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [assign_number(actor=None, user=user, number=tn).number for tn in NUMBERS[:3]]
    platform = CpaasPlatformFactory(credentials=sandbox.credentials, options=sandbox.options)
    other = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    single = assign_number(actor=None, user=other, number=NUMBERS[3]).number
    provision, order = number_work._provision, list[str]()

    def note(number: CpaasNumber) -> None:
        order.append(number.number)
        provision(number)

    monkeypatch.setattr(number_work, "_provision", note)
    assert work_due_numbers() == 4
    assert single in order[:2]
    assert sorted(order) == sorted([*many, single])


def test_a_worker_that_died_is_taken_over_and_changes_nothing_when_late(user, sandbox) -> None:
    number = assign(user)
    CpaasNumber.objects.update(claim="00000000-0000-4000-8000-000000000000", next_try_at=clock.now())
    work_due_numbers()
    number.refresh_from_db()
    assert number.status == "enabled"
    assert len(sandbox.hooks()) == 1


def _with_messages(number: CpaasNumber, live) -> CpaasNumber:
    live.inbound(**{"from": "+17036089795", "to": number.number, "text": "secret words"})
    live.inbound(**{"from": "+17036089796", "to": number.number, "text": "more"})
    message = Message.objects.first()
    IdempotencyKey.objects.create(
        owner=number.user_id, path="x", key="k", body_digest="d", status=202, answer={"text": "x"}, object_id=message.pk
    )
    return number


def test_s4_40_deleting_a_number_takes_messages_at_once_and_the_hook_soon(hooked, sandbox) -> None:
    _with_messages(hooked, sandbox)
    CpaasNumber.objects.update(opt_in_state="pending")
    record_opt_in(user=hooked.user, number=hooked, answer="yes")
    assert message_counts([hooked]) == {hooked.pk: 2}
    delete_number(actor=None, number=hooked)
    for model in (Message, Conversation, WebhookEvent, IdempotencyKey):
        assert not model.objects.exists(), model
    assert CpaasNumber.objects.get().status == "removing"
    work_due_numbers()
    assert not CpaasNumber.objects.exists()
    assert sandbox.hooks() == []
    assert OptInEvidence.objects.get().tn == hooked.number


def test_s4_39_messages_alone_can_be_deleted(hooked, sandbox) -> None:
    _with_messages(hooked, sandbox)
    assert delete_messages(actor=None, number=hooked) == 2
    assert not Message.objects.exists()
    assert message_counts([hooked]) == {hooked.pk: 0}
    hooked.refresh_from_db()
    assert hooked.status == "enabled"


def test_an_outbound_key_is_never_removed(hooked, sandbox: SandboxProcess) -> None:
    delete_number(actor=None, number=hooked)
    work_due_numbers()
    removed = [
        request
        for request in sandbox.call("GET", "/inteliquent/requests/")["results"]
        if request["path"].endswith("removeAuthorization")
    ]
    assert len(removed) == 1
    assert assign(hooked.user) is not None


def test_a_removal_is_dropped_when_the_number_is_wanted_again(hooked, sandbox) -> None:
    sandbox.carrier(state="refusing")
    delete_number(actor=None, number=hooked)
    work_due_numbers()
    sandbox.carrier(state="up")
    again = assign(hooked.user, hooked.number)
    work_due_numbers()
    again.refresh_from_db()
    assert again.status == "enabled"
    assert [hook["tn"] for hook in sandbox.hooks()] == [hooked.number[1:]]


def test_a_user_with_a_number_is_not_deleted(user) -> None:
    assign(user)
    with pytest.raises(Problem) as problem:
        delete_user(actor=None, user=user)
    assert problem.value.code == "in_use"
    assert "2019920760" in problem.value.detail
    assert NUMBERS[0] == "+12019920760"
