"""CPaaS numbers on the staff site, against a simulated carrier: assigning, watching, opt-in, deleting (J2, J3, J9)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cpaas.models import CpaasNumber, CpaasPlatform, MediaStream, Message
from cpaas.services.number_work import work_due_numbers
from cpaas.services.opt_in import record_opt_in
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory, MediaStreamFactory, MessageFactory
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.tenants import Tenant, make_tenant
from tests.sandbox_process import NUMBERS, SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)
S4_28 = "Please note it may take several minutes before this number is provisioned in Inteliquent"
S4_29 = (
    "This number is not assigned to this Inteliquent account, please check the number and try again or check with the "
    "Inteliquent customer portal for more information"
)


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    return make_tenant("Acme")


@pytest.fixture
def platform(acme: Tenant, sandbox: SandboxProcess) -> CpaasPlatform:
    return CpaasPlatformFactory(
        system_provider=acme.system_provider,
        name="Inteliquent",
        credentials=sandbox.credentials,
        options=sandbox.options,
        mms=True,
    )


@pytest.fixture
def staff(acme: Tenant) -> Client:
    """The administrator of the user's group, who sees no platform page."""
    return browser(acme.accounts["group", "administrator"])


def add_url(tenant: Tenant) -> str:
    return reverse("admin:cpaas_cpaasnumber_add_to_user", args=[tenant.user.pk])


def add(staff: Client, tenant: Tenant, platform: CpaasPlatform, number: str = "(201) 992-0760", **more: Any) -> Any:
    return staff.post(add_url(tenant), {"number": number, "platform": platform.pk, **more})


def test_s4_23_the_button_is_there_once_a_platform_exists(acme: Tenant, staff: Client, sandbox) -> None:
    assert "Add CPaaS Number" not in staff.get(url_of(acme.user, "detail")).content.decode()
    assert staff.post(add_url(acme), {"number": "2019920760"})["Location"] == url_of(acme.user, "detail")
    CpaasPlatformFactory(system_provider=acme.system_provider)
    assert "Add CPaaS Number" in staff.get(url_of(acme.user, "detail")).content.decode()


def test_s4_2_without_a_licence_the_page_says_why_there_is_no_button(acme: Tenant, staff: Client, platform) -> None:
    acme.user.licence = "none"
    acme.user.save()
    shown = staff.get(url_of(acme.user, "detail")).content.decode()
    assert "Add CPaaS Number" not in shown
    assert "client licence" in shown
    assert "no client licence" in add(staff, acme, platform).content.decode()
    assert not CpaasNumber.objects.exists()


def test_the_form_asks_and_tells_what_the_seeds_show(acme: Tenant, staff: Client, platform) -> None:
    shown = staff.get(add_url(acme))
    form = shown.context["form"]
    labels = [field.label for field in form.fields.values()]
    assert labels == ["Number", "Friendly Name", "Platform", "MMS", "User Can Block Numbers", "Note"]
    assert S4_28 in shown.content.decode()
    assert [label for _, label in form.fields["mms"].choices] == ["Default", "On", "Off"]
    assert form.fields["platform"].choices == [(str(platform.pk), "Inteliquent")]
    assert 'role="tooltip"' in shown.content.decode()


def test_r12_on_is_no_choice_when_the_platform_has_mms_off(acme: Tenant, staff: Client, platform) -> None:
    platform.mms = False
    platform.save()
    form = staff.get(add_url(acme)).context["form"]
    assert [label for _, label in form.fields["mms"].choices] == ["Default", "Off"]
    assert "Select a valid choice" in add(staff, acme, platform, mms="on").content.decode()


def test_s4_27_with_several_platforms_one_is_chosen(acme: Tenant, staff: Client, platform) -> None:
    CpaasPlatformFactory(system_provider=acme.system_provider, name="Second")
    response = staff.post(add_url(acme), {"number": "2019920760"})
    assert response.context["form"].errors["platform"]
    assert add(staff, acme, platform).status_code == 302


def test_j2_a_number_of_somebody_else_is_refused_with_the_exact_text(acme: Tenant, staff: Client, platform) -> None:
    response = add(staff, acme, platform, "2019920789")
    assert response.context["form"].errors["number"] == [S4_29]
    assert not CpaasNumber.objects.exists()


def test_j2_a_number_becomes_enabled_without_reload(acme: Tenant, staff: Client, platform, sandbox) -> None:
    response = add(staff, acme, platform)
    assert response["Location"] == url_of(acme.user, "detail")
    number = CpaasNumber.objects.get()
    shown = staff.get(response["Location"]).content.decode()
    status_url = url_of(number, "status")
    assert "Provisioning" in shown
    assert f'hx-get="{status_url}" hx-trigger="every 2s"' in shown
    assert shown.count("2019920760") >= 2  # the friendly name is the number (S4.25)
    assert work_due_numbers() == 1
    badge = staff.get(status_url).content.decode()
    assert "Enabled" in badge
    assert "hx-get" not in badge
    assert [hook["tn"] for hook in sandbox.hooks()] == ["12019920760"]


def test_a_failed_number_shows_its_reason_and_is_tried_again(acme: Tenant, staff: Client, platform) -> None:
    number = CpaasNumberFactory(
        user=acme.user, platform=platform, number=NUMBERS[0], status="failed", status_detail="Not switched on."
    )
    shown = staff.get(url_of(number, "detail")).content.decode()
    assert "Not switched on." in shown
    assert "Retry" in shown
    staff.post(url_of(number, "retry"))
    work_due_numbers()
    assert "Retry" not in staff.get(url_of(number, "detail")).content.decode()
    number.refresh_from_db()
    assert number.status == "enabled"


def test_s4_41_a_number_of_another_tenant_is_not_available(acme: Tenant, staff: Client, platform) -> None:
    zenith = make_tenant("Zenith")
    CpaasNumberFactory(user=zenith.user, number=NUMBERS[0])
    shown = add(staff, acme, platform).content.decode()
    assert "This number is not available." in shown
    assert "Zenith" not in shown


@pytest.mark.parametrize("answer", ["yes", "no", "cancel"])
def test_j3_the_answer_is_shown_with_time_and_evidence_and_can_be_reset(
    acme: Tenant, staff: Client, platform, answer: str
) -> None:
    platform.opt_in_prompt = "May {provider} text {number}?"
    platform.save()
    number = CpaasNumberFactory(user=acme.user, platform=platform, number=NUMBERS[0], opt_in_state="pending")
    before = staff.get(url_of(number, "detail")).content.decode()
    assert "Reset Opt-In State" not in before
    record_opt_in(user=acme.user, number=number, answer=answer)
    number.refresh_from_db()
    shown = staff.get(url_of(number, "detail")).content.decode()
    word = {"yes": "Accepted", "no": "Declined", "cancel": "Postponed"}[answer]
    assert f"{word} at {number.opt_in_at.strftime('%d/%m/%Y %H:%M:%S')}" in shown
    assert "May Acme Telecom text 2019920760?" in shown
    assert "Reset Opt-In State" in shown
    reset = staff.post(url_of(number, "reset_opt_in"), follow=True).content.decode()
    number.refresh_from_db()
    assert number.opt_in_state == "pending"
    assert "May Acme Telecom text 2019920760?" in reset  # the evidence stays


def test_s4_13_nothing_is_reset_where_nobody_is_asked(acme: Tenant, staff: Client, platform) -> None:
    stream = MediaStreamFactory(group=acme.group)
    number = CpaasNumberFactory(media_stream=stream, platform=platform)
    assert "Reset Opt-In State" not in staff.get(url_of(number, "detail")).content.decode()
    refused = staff.post(url_of(number, "reset_opt_in"), follow=True).content.decode()
    assert "nothing can be reset" in refused


def test_s4_35_a_number_leads_to_who_consumes_it(acme: Tenant, staff: Client, platform) -> None:
    stream = MediaStreamFactory(group=acme.group)
    for number, owner in (
        (CpaasNumberFactory(user=acme.user, platform=platform), acme.user),
        (CpaasNumberFactory(media_stream=stream, platform=platform), stream),
    ):
        for url in (url_of(number, "detail"), list_of(CpaasNumber)):
            assert f'href="{url_of(owner, "detail")}"' in staff.get(url).content.decode()


def test_s4_39_messages_are_deleted_after_a_question(acme: Tenant, staff: Client, platform) -> None:
    number = CpaasNumberFactory(user=acme.user, platform=platform)
    assert "Delete messages" not in staff.get(url_of(number, "detail")).content.decode()
    for _ in range(3):
        MessageFactory(conversation__number=number)
    assert "Delete messages" in staff.get(url_of(number, "detail")).content.decode()
    assert "3 saved messages are deleted" in staff.get(url_of(number, "delete_messages_confirm")).content.decode()
    assert Message.objects.filter(number=number).count() == 3
    shown = staff.post(url_of(number, "delete_messages"), follow=True).content.decode()
    assert "3 saved messages of" in shown
    assert not Message.objects.filter(number=number).exists()
    assert "has no saved messages" in staff.post(url_of(number, "delete_messages"), follow=True).content.decode()


def test_s4_40_deleting_a_number_takes_its_messages(acme: Tenant, staff: Client, platform) -> None:
    number = CpaasNumberFactory(user=acme.user, platform=platform, number=NUMBERS[0])
    assert "saved message" not in staff.get(url_of(number, "delete")).content.decode()
    MessageFactory(conversation__number=number)
    assert "1 saved message is deleted" in staff.get(url_of(number, "delete")).content.decode()
    response = staff.post(url_of(number, "delete"))
    assert response["Location"] == url_of(acme.user, "detail")
    assert not Message.objects.filter(number=number).exists()
    assert "Removing" in staff.get(url_of(acme.user, "detail")).content.decode()
    work_due_numbers()
    assert staff.get(url_of(number, "status")).status_code == 404


def test_settings_of_a_number_are_changed(acme: Tenant, staff: Client, platform) -> None:
    number = CpaasNumberFactory(user=acme.user, platform=platform, number=NUMBERS[0])
    data = {"friendly_name": "Chris Cell", "mms": "off", "can_block": "on", "note": "Spare"}
    assert staff.post(url_of(number, "change"), data).status_code == 302
    number.refresh_from_db()
    assert (number.display, number.messaging_type, number.can_block_effective) == (
        "Chris Cell (2019920760)",
        "SMS",
        True,
    )
    assert "SMS" in staff.get(url_of(number, "detail")).content.decode()


@pytest.mark.parametrize("term", ["0760", "2019920760", "+1 (201) 992-0760", "12019920760"])
def test_a_number_is_found_by_its_last_four_digits_or_whole(acme: Tenant, staff: Client, platform, term: str) -> None:
    wanted = CpaasNumberFactory(user=acme.user, platform=platform, number=NUMBERS[0])
    CpaasNumberFactory(user=acme.user, platform=platform, number=NUMBERS[1])
    found = staff.get(list_of(CpaasNumber), {"q": term}).context["cl"].result_list
    assert found == [wanted]
    assert staff.get(list_of(CpaasNumber), {"q": "Chris"}).context["cl"].result_list == []


STREAM = {"name": "Front desk", "routing": "ring_all", "offer_timeout_s": 20}


def test_s4_33_a_stream_of_type_sms_gets_a_number_while_it_is_made(acme: Tenant, staff: Client, platform) -> None:
    shown = staff.get(f"{list_of(MediaStream, 'add')}?group={acme.group.pk}")
    assert 'data-needs="media_type=sms"' in shown.content.decode()
    data = {
        **STREAM,
        "group": acme.group.pk,
        "media_type": "sms",
        "number_number": "2019920760",
        "number_platform": platform.pk,
        "number_can_block": "on",
        "agents": [acme.user.pk],
    }
    response = staff.post(list_of(MediaStream, "add"), data)
    stream = MediaStream.objects.get()
    assert response["Location"] == url_of(stream, "detail")
    number = stream.cpaas_numbers.get()
    assert (number.number, number.opt_in_state, number.can_block) == ("+12019920760", "not_required", "on")
    assert list(stream.agents.all()) == [acme.user]
    assert "number_number" not in staff.get(url_of(stream, "change")).context["form"].fields


def test_s4_33_a_web_chat_takes_no_number(acme: Tenant, staff: Client, platform) -> None:
    data = {**STREAM, "group": acme.group.pk, "media_type": "web_chat", "number_number": "2019920760"}
    assert staff.post(list_of(MediaStream, "add"), data).status_code == 302
    assert not CpaasNumber.objects.exists()


def test_a_number_the_carrier_refuses_leaves_the_stream_and_says_why(acme: Tenant, staff: Client, platform) -> None:
    data = {
        **STREAM,
        "group": acme.group.pk,
        "media_type": "sms",
        "number_number": "2019920789",
        "number_platform": platform.pk,
    }
    assert S4_29 in staff.post(list_of(MediaStream, "add"), data, follow=True).content.decode()
    assert MediaStream.objects.get().cpaas_numbers.count() == 0


def test_the_search_finds_a_number_by_its_last_four_digits_within_the_tenant(acme: Tenant, staff: Client) -> None:
    """And only at the end of a number, and only in the actor's own group."""
    zenith = make_tenant("Zenith")
    own, foreign, other = "+12019924711", "+12125554711", "+12014711992"
    for user, number in ((acme.user, own), (zenith.user, foreign), (acme.user, other)):
        CpaasNumberFactory(user=user, number=number)

    def found(client: Client, term: str) -> list[str]:
        answer = client.get("/search/", {"q": term})
        return [hit.row.number for part in answer.context["found"] for hit in part.hits if hasattr(hit.row, "number")]

    assert found(staff, "4711") == [own]
    assert found(staff, " 4711 ") == [own]
    assert found(browser(acme.administrator), "4711") == [own]
    assert found(browser(zenith.administrator), "4711") == [foreign]
    assert found(staff, "471") == []
    shown = staff.get("/search/", {"q": "4711"}).content.decode()
    assert "(201) 992-4711" in shown or "2019924711" in shown
    assert "5554711" not in shown
    assert "555-4711" not in shown


def test_the_landing_page_names_what_needs_attention(acme: Tenant, staff: Client, platform) -> None:
    CpaasNumberFactory(user=acme.user, platform=platform, status="failed", status_detail="Not switched on.")
    declined = CpaasNumberFactory(
        user=acme.colleague, platform=platform, opt_in_state="declined", opt_in_at=timezone.now()
    )
    shown = staff.get("/").content.decode()
    assert "Not switched on." in shown
    assert f'href="{url_of(declined, "detail")}"' in shown
