"""A number goes to somebody else without its messages and with a new consent (R23, R3, S4.2)."""

from __future__ import annotations

from typing import Any

import pytest

from cpaas.models import BlockedParty, Conversation, CpaasNumber, Message, NumberAssignment
from cpaas.services.opt_in import record_opt_in
from cpaas.services.transferring import transfer_number
from cpaas.tests.factories import (
    ConversationFactory,
    CpaasNumberFactory,
    MediaStreamFactory,
    MessageFactory,
)
from portal.models import AuditEntry, Event
from portal.problems import Problem
from portal.services.users import update_user
from portal.tests.admin_walk import browser, url_of
from portal.tests.tenants import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def number(tenant: Tenant) -> CpaasNumber:
    return CpaasNumberFactory(user=tenant.user, friendly_name="Desk")


def with_texts(number: CpaasNumber) -> CpaasNumber:
    conversation = ConversationFactory(number=number)
    MessageFactory(conversation=conversation)
    MessageFactory(conversation=conversation, status="queued")
    return number


def refusal(number: CpaasNumber, **to: Any) -> Problem:
    with pytest.raises(Problem) as problem:
        transfer_number(actor=None, number=number, **to)
    return problem.value


def test_r23_messages_are_deleted_only_when_that_is_confirmed(tenant: Tenant, number: CpaasNumber) -> None:
    with_texts(number)
    problem = refusal(number, user=tenant.colleague)
    assert (problem.code, problem.extra) == ("messages_exist", {"message_count": 2})
    assert Message.objects.count() == 2
    transfer_number(actor=None, number=number, user=tenant.colleague, delete_messages=True)
    assert not Message.objects.exists()
    assert not Conversation.objects.exists()


def test_r3_the_new_user_is_asked_whatever_the_former_one_answered(tenant: Tenant, number: CpaasNumber) -> None:
    for state in ("accepted", "declined"):
        CpaasNumber.objects.update(opt_in_state=state)
        to = tenant.colleague if state == "accepted" else tenant.user
        cycle = number.opt_in_cycle
        number = transfer_number(actor=None, number=CpaasNumber.objects.get(), user=to)
        number.refresh_from_db()
        assert (number.user, number.opt_in_state, number.opt_in_at) == (to, "pending", None)
        assert number.opt_in_cycle == cycle + 1
        assert not number.is_usable
    record_opt_in(user=tenant.user, number=number, answer="yes")
    number.refresh_from_db()
    assert number.is_usable


def test_s4_15_whom_the_former_user_blocked_the_new_one_hears(tenant: Tenant, number: CpaasNumber) -> None:
    BlockedParty.objects.create(number=number, user=tenant.user, remote="+17036089795")
    transfer_number(actor=None, number=number, user=tenant.colleague)
    assert not BlockedParty.objects.exists()


def test_r23_of_a_stream_that_got_the_number_meanwhile_nobody_said_to_delete_messages(tenant: Tenant) -> None:
    first, second, third = (MediaStreamFactory(group=tenant.group) for _ in range(3))
    seen = CpaasNumberFactory(media_stream=first)
    transfer_number(actor=None, number=CpaasNumber.objects.get(), media_stream=second)
    with_texts(CpaasNumber.objects.get())
    assert refusal(seen, media_stream=third, delete_messages=True).code == "changed_meanwhile"
    assert Message.objects.count() == 2


def test_both_users_are_told_at_once(tenant: Tenant, number: CpaasNumber) -> None:
    transfer_number(actor=None, number=number, user=tenant.colleague)
    told = Event.objects.filter(type="number.updated", object_id=number.pk).values_list("user_id", flat=True)
    assert set(told) == {tenant.user.pk, tenant.colleague.pk}


def test_s4_13_a_media_stream_is_not_asked_and_the_number_follows_its_group(tenant: Tenant, number) -> None:
    stream = MediaStreamFactory(group=tenant.other_group)
    transfer_number(actor=None, number=number, media_stream=stream)
    number.refresh_from_db()
    assert (number.user, number.media_stream, number.opt_in_state) == (None, stream, "not_required")
    assert (number.group, number.reseller) == (tenant.other_group, tenant.other_reseller)


def test_neither_branch_reads_the_others_names_in_its_trail(tenant: Tenant, number: CpaasNumber) -> None:
    transfer_number(actor=tenant.administrator, number=number, user=tenant.other_user)
    old, new = AuditEntry.objects.filter(action="transfer").order_by("id")
    assert (old.group_id, old.before["owner"], old.after) == (tenant.group.pk, "Acme user", {"owner": "another group"})
    assert (new.group_id, new.before, new.after) == (
        tenant.other_group.pk,
        {"owner": "another group"},
        {"owner": "Acme other_user"},
    )


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda tenant: {"user": tenant.user}, "already_assigned"),
        (lambda tenant: {}, "invalid"),
        (lambda tenant: {"user": unlicensed(tenant.colleague)}, "not_licensed"),
        (lambda tenant: {"media_stream": MediaStreamFactory(group=tenant.group, media_type="web_chat")}, "invalid"),
        (lambda tenant: {"media_stream": MediaStreamFactory()}, "invalid"),
    ],
    ids=["own", "nobody", "unlicensed", "web_chat", "other_provider"],
)
def test_who_cannot_have_it(tenant: Tenant, number: CpaasNumber, make: Any, code: str) -> None:
    assert refusal(number, **make(tenant)).code == code
    number.refresh_from_db()
    assert number.user == tenant.user


def unlicensed(user: Any) -> Any:
    return update_user(actor=None, user=user, changes={"licence": "none"})


def test_a_number_on_its_way_out_is_gone(tenant: Tenant, number: CpaasNumber) -> None:
    CpaasNumber.objects.update(status="removing")
    assert refusal(number, user=tenant.colleague).code == "not_found"


def test_a_transfer_that_somebody_else_was_faster_with(tenant: Tenant, number: CpaasNumber) -> None:
    CpaasNumber.objects.update(user=tenant.colleague)
    assert refusal(number, user=tenant.other_user).code == "changed_meanwhile"


def test_s4_6_the_history_goes_over_to_the_new_user(tenant: Tenant, number: CpaasNumber) -> None:
    for to in (tenant.colleague, tenant.user):
        transfer_number(actor=None, number=CpaasNumber.objects.get(), user=to)
    first, second = NumberAssignment.objects.order_by("id")
    assert (first.user_id, second.user_id, second.ended_at) == (tenant.colleague.pk, tenant.user.pk, None)
    assert first.ended_at == second.started_at


class TestFaces:
    def test_rest(self, api: Any, tenant: Tenant, number: CpaasNumber) -> None:
        with_texts(number)
        path = f"/api/v1/provisioning/numbers/{number.pk}/transfer/"
        refused = api(tenant.token).post(path, {"user": str(tenant.colleague.pk)})
        assert (refused.status_code, refused.json()["code"], refused.json()["message_count"]) == (
            409,
            "messages_exist",
            2,
        )
        answer = api(tenant.token).post(path, {"user": str(tenant.colleague.pk), "delete_messages": True})
        assert answer.status_code == 200
        shown = answer.json()
        assert (shown["user"], shown["opt_in"]["state"], shown["message_count"]) == (
            str(tenant.colleague.pk),
            "pending",
            0,
        )

    def test_rest_to_a_stranger_is_404(self, api: Any, two_tenants: Any) -> None:
        acme, zenith = two_tenants
        number = CpaasNumberFactory(user=acme.user)
        path = f"/api/v1/provisioning/numbers/{number.pk}/transfer/"
        assert api(acme.token).post(path, {"user": str(zenith.user.pk)}).status_code == 404

    def test_the_page_warns_and_asks(self, tenant: Tenant, number: CpaasNumber) -> None:
        with_texts(number)
        staff = browser(tenant.accounts["group", "administrator"])
        assert url_of(number, "transfer") in staff.get(url_of(number, "detail")).content.decode()
        shown = staff.get(url_of(number, "transfer")).content.decode()
        assert "Delete its 2 saved messages" in shown
        refused = staff.post(url_of(number, "transfer"), {"user": str(tenant.colleague.pk)})
        assert "delete_messages" in refused.context["form"].errors
        body = {"user": str(tenant.colleague.pk), "delete_messages": "on"}
        assert staff.post(url_of(number, "transfer"), body)["Location"] == url_of(number, "detail")
        number.refresh_from_db()
        assert number.user == tenant.colleague

    def test_who_may_only_look_sees_no_button(self, tenant: Tenant, number: CpaasNumber) -> None:
        reader = browser(tenant.accounts["group", "read_only"])
        assert url_of(number, "transfer") not in reader.get(url_of(number, "detail")).content.decode()
        assert reader.post(url_of(number, "transfer"), {"user": str(tenant.colleague.pk)}).status_code == 403
