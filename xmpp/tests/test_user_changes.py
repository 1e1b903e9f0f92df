"""A change of a user is one: name, service and password, here and at BroadWorks, or nothing of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from portal import clock
from portal.models import EndUser
from portal.problems import Problem
from portal.tests.factories import PASSWORD, EndUserFactory, PortalAccountFactory
from tests.sandbox_process import BroadworksControl, wait_for
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services import user_fields
from xmpp.services.account_work import work_due_accounts
from xmpp.services.accounts import Service
from xmpp.services.password_changes import hold
from xmpp.states import Work
from xmpp.tests.factories import ImpAccountFactory
from xmpp.tests.switching import switch_service

pytestmark = pytest.mark.django_db(transaction=True)
ON, OFF = {"assigned": True, "enabled": True}, {"assigned": False, "enabled": False}
OLD, NEW = "the password from before", "quite another password"
USERS = "/api/v1/provisioning/users/"


@pytest.fixture
def staff(connection: BroadworksConnection, api: Callable[..., Any]) -> Any:
    """Of a brand that lets passwords be chosen."""
    connection.system_provider.auto_generate_xmpp_password = False
    connection.system_provider.save()
    return api(PortalAccountFactory(scope=connection.system_provider))


@pytest.fixture
def chris(staff: Any, connection: BroadworksConnection, broadworks: BroadworksControl) -> EndUser:
    """A user without the service, here as there."""
    user = EndUserFactory(login="chris@acme.example", group__reseller__system_provider=connection.system_provider)
    broadworks.put_user(user.login, imp=imp(OFF))
    return user


@pytest.fixture
def dana(chris: EndUser, broadworks: BroadworksControl) -> EndUser:
    """A colleague who has the service and a password."""
    user = EndUserFactory(login="dana@acme.example", group=chris.group)
    broadworks.put_user(user.login, imp_password=OLD)
    ImpAccountFactory(user=user, imp_id=f"dana@{broadworks.imp_domain}", password=OLD)
    return user


@pytest.fixture
def eve(chris: EndUser, broadworks: BroadworksControl) -> dict[str, Any]:
    """What is posted for somebody new, whom BroadWorks knows without the service."""
    broadworks.put_user("eve@acme.example", imp=imp(OFF))
    fields = {"group": str(chris.group_id), "login": "eve@acme.example", "name": "Eve"}
    return {**fields, "integrated_imp": ON, "imp_password": NEW}


def imp(service: dict[str, bool]) -> dict[str, bool]:
    """As the simulator wants it."""
    return {"assigned": service["assigned"], "active": service["enabled"]}


def at_broadworks(broadworks: BroadworksControl, login: str) -> tuple[bool, bool, str | None]:
    """Assigned, active, and the password."""
    shown = broadworks.user(login)
    return shown["imp"]["assigned"], shown["imp"]["active"], shown["imp_password"]


NOTHING = (False, False, None)


def test_a_new_user_whose_row_fails_leaves_nothing_at_broadworks(staff, eve, broadworks):
    """The IM&P ID turns out to be taken when the row is written: service off again, no password, no user."""
    ImpAccountFactory(imp_id=f"eve@{broadworks.imp_domain}")
    answer = staff.post(USERS, eve, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "imp_id_taken")
    assert at_broadworks(broadworks, "eve@acme.example") == NOTHING
    assert not EndUser.objects.filter(login="eve@acme.example").exists()


@pytest.mark.parametrize("kind", ["error_response", "drop"])
@pytest.mark.parametrize("command", ["UserIntegratedIMPModifyRequest", "UserModifyRequest22"])
def test_a_new_user_whom_broadworks_fails_is_not_half_made(staff, eve, broadworks, command, kind):
    """Whichever step fails, and also when it was carried out: no user, the service as it was."""
    broadworks.fault(command, kind, after_accept=kind == "drop", summary="Not today")
    answer = staff.post(USERS, eve, format="json")
    code = "broadworks_refused" if kind == "error_response" else "broadworks_unreachable"
    assert (answer.status_code, answer.json()["code"]) == (502, code)
    assert at_broadworks(broadworks, "eve@acme.example")[:2] == (False, False)
    assert not EndUser.objects.filter(login="eve@acme.example").exists()
    assert staff.post(USERS, eve, format="json").status_code == 201
    assert at_broadworks(broadworks, "eve@acme.example") == (True, True, NEW)


def test_a_new_user_who_had_the_service_there_keeps_it(staff, eve, broadworks):
    """What is taken back is our change, not theirs."""
    broadworks.put_user("eve@acme.example", imp=imp(ON))
    broadworks.fault("UserModifyRequest22", "error_response")
    assert staff.post(USERS, eve, format="json").status_code == 502
    assert at_broadworks(broadworks, "eve@acme.example") == (True, True, None)


def test_a_login_taken_at_the_same_moment_is_found_out(staff, eve, chris, broadworks):
    """Two staff add the same user: the second is told so, and BroadWorks keeps nothing of the second's password."""
    broadworks.settings(latency_ms=150)
    answers: list[Any] = []

    def post() -> None:
        answers.append(staff.post(USERS, eve, format="json"))
        connections.close_all()

    other = threading.Thread(target=post)
    other.start()
    wait_for(broadworks.commands)
    EndUserFactory(login="Eve@acme.example", group=chris.group)
    other.join()
    assert answers[0].status_code == 400
    assert "login" in answers[0].json()["errors"]
    assert at_broadworks(broadworks, "eve@acme.example") == NOTHING


def test_what_is_not_valid_is_not_told(staff, chris, dana, broadworks):
    """Every field is checked first: a login that is taken, a weak login password, an address that is none."""
    for wrong in ({"login": dana.login}, {"password": "weak"}, {"email": "no address"}):
        body = {**wrong, "integrated_imp": ON, "imp_password": NEW}
        assert staff.patch(f"{USERS}{chris.pk}/", body, format="json").status_code == 400
    assert broadworks.commands() == []


def test_a_row_that_fails_takes_service_and_password_back(staff, chris, dana, broadworks):
    """Somebody of another organisation cannot be monitored, which shows when the row is written."""
    stranger = EndUserFactory(group__reseller=chris.group.reseller)
    body = {"name": "Changed", "monitored": [str(stranger.pk)], "imp_password": NEW}
    assert staff.patch(f"{USERS}{dana.pk}/", body, format="json").status_code == 400
    assert staff.patch(f"{USERS}{chris.pk}/", body | {"integrated_imp": ON}, format="json").status_code == 400
    work_due_accounts()
    assert at_broadworks(broadworks, dana.login) == (True, True, OLD)
    assert at_broadworks(broadworks, chris.login)[:2] == (False, False)
    account = ImpAccount.objects.get(user=dana)
    assert (account.password, account.pending_password, account.work, account.claim) == (OLD, "", "", None)
    assert not EndUser.objects.filter(name="Changed").exists()


def test_the_database_away_after_broadworks_was_told_is_set_right_later(staff, dana, broadworks):
    """Not even the giving up can be written then: the claim that stands in the row runs out, and the former password
    is set again."""

    def away(execute: Callable[..., Any], *arguments: Any) -> Any:
        if "UserModifyRequest22" in broadworks.commands():
            raise OperationalError("The database is away.")
        return execute(*arguments)

    with connection.execute_wrapper(away):
        answer = staff.patch(f"{USERS}{dana.pk}/", {"name": "Changed", "imp_password": NEW}, format="json")
    assert answer.status_code >= 500
    assert at_broadworks(broadworks, dana.login)[2] == NEW
    assert (ImpAccount.objects.get(user=dana).work, EndUser.objects.get(pk=dana.pk).name) == (Work.RESTORE, dana.name)
    ImpAccount.objects.update(work_due_at=clock.now())
    work_due_accounts()
    assert at_broadworks(broadworks, dana.login)[2] == ImpAccount.objects.get(user=dana).password == OLD


def test_a_password_that_is_refused_changes_no_name_either(staff, chris, dana, broadworks):
    """502 means that nothing was changed: neither of a user who has the service nor of one who is to get it."""
    for user, more in ((dana, {}), (chris, {"integrated_imp": ON})):
        broadworks.fault("UserModifyRequest22", "error_response", summary="Too weak")
        body = {"name": "Changed", "imp_password": NEW, **more}
        answer = staff.patch(f"{USERS}{user.pk}/", body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (502, "broadworks_refused")
    assert not EndUser.objects.filter(name="Changed").exists()
    assert at_broadworks(broadworks, chris.login) == NOTHING
    assert not any(account.is_on for account in ImpAccount.objects.filter(user=chris))


def test_service_and_password_come_together(staff, chris, broadworks):
    """Of a user who never had the service, in one request."""
    broadworks.put_user(chris.login, imp=imp(OFF), device={"name": "pc"})
    body = {"name": "Changed", "integrated_imp": ON, "imp_password": NEW}
    answer = staff.patch(f"{USERS}{chris.pk}/", body, format="json")
    assert (answer.status_code, answer.json()["name"]) == (200, "Changed")
    assert at_broadworks(broadworks, chris.login) == (True, True, NEW)
    account = ImpAccount.objects.get(user=chris)
    assert (account.password, account.password_state, account.work) == (NEW, "set", "")
    assert broadworks.user(chris.login)["device"]["tags"]["%XMPP_PASSWORD%"] == NEW


@pytest.mark.parametrize("kind", ["error_response", "drop"])
def test_a_service_half_switched_is_switched_back(staff, chris, broadworks, kind):
    """Assigned, then not activated; or activated, and nobody said so."""
    broadworks.fault("UserIntegratedIMPModifyRequest", kind, after_accept=kind == "drop", summary="No licence is left")
    assert staff.patch(f"{USERS}{chris.pk}/", {"integrated_imp": ON}, format="json").status_code == 502
    assert at_broadworks(broadworks, chris.login) == NOTHING


def test_two_who_switch_at_once_do_not_mix(chris, broadworks):
    """The second to write is told so, and BroadWorks has what stands in the row."""
    switch_service(chris, ON)
    late = user_fields.begin(None, chris, {"integrated_imp": {"enabled": False}})
    switch_service(chris, OFF)
    with pytest.raises(Problem) as caught, transaction.atomic():
        late.commit(chris)
    assert caught.value.code == "changed_meanwhile"
    late.undo()
    assert at_broadworks(broadworks, chris.login) == NOTHING


def test_a_password_change_under_way_keeps_staff_off(staff, dana, broadworks):
    """409 to the second of two, and neither name nor password is changed."""
    hold(ImpAccount.objects.get(user=dana), None, "somebody else's new one")
    answer = staff.patch(f"{USERS}{dana.pk}/", {"name": "Changed", "imp_password": NEW}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "change_in_progress")
    assert EndUser.objects.get(pk=dana.pk).name != "Changed"
    assert at_broadworks(broadworks, dana.login) == (True, True, OLD)


def test_login_and_xmpp_password_never_become_the_same(staff, dana, eve, broadworks):
    """R1 in one request, and from the other side: the XMPP password becomes no login password."""
    both = {"password": NEW, "imp_password": NEW}
    for answer in (
        staff.patch(f"{USERS}{dana.pk}/", both, format="json"),
        staff.post(USERS, eve | both, format="json"),
        staff.patch(f"{USERS}{dana.pk}/", {"imp_password": PASSWORD}, format="json"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "same_as_login")
    answer = staff.patch(f"{USERS}{dana.pk}/", {"password": OLD}, format="json")
    assert answer.status_code == 400
    assert "password" in answer.json()["errors"]
    assert broadworks.commands() == []


@pytest.mark.parametrize("given", ["two words@im.example", "no-address", "a@b@c", f"{'x' * 400}@im.example"])
def test_what_broadworks_gives_is_a_jid_or_nothing(staff, chris, broadworks, given):
    """The bridge logs in with it; what is none is refused at the door, and the service switched back."""
    broadworks.put_user(chris.login, imp={**imp(OFF), "id": given})
    answer = staff.patch(f"{USERS}{chris.pk}/", {"integrated_imp": ON}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "imp_id_invalid")
    assert at_broadworks(broadworks, chris.login) == NOTHING


def test_what_was_doubtful_is_restored_though_the_service_went_off(staff, dana, broadworks):
    """Else the two passwords would differ once it goes on again."""
    broadworks.fault("UserModifyRequest22", "drop", after_accept=True)
    staff.patch(f"{USERS}{dana.pk}/", {"imp_password": NEW}, format="json")
    assert at_broadworks(broadworks, dana.login)[2] == NEW
    ImpAccount.objects.update(assigned=False, enabled=False)
    work_due_accounts()
    assert at_broadworks(broadworks, dana.login)[2] == OLD


def test_a_device_that_was_behind_is_updated_when_the_service_goes_on_again(staff, dana, broadworks):
    """S0.22: what was left to do is not forgotten with the switching off."""
    broadworks.put_user(dana.login, device={"name": "pc"})
    broadworks.fault("GroupCPEConfigRebuildDeviceConfigFileRequest", "error_response")
    staff.patch(f"{USERS}{dana.pk}/", {"imp_password": NEW}, format="json")
    switch_service(dana, {"enabled": False})
    ImpAccount.objects.exclude(work="").update(work_due_at="2020-01-01T00:00Z")
    work_due_accounts()
    assert ImpAccount.objects.get(user=dana).work == ""
    switch_service(dana, ON)
    assert ImpAccount.objects.get(user=dana).work == Work.DEVICE
    work_due_accounts()
    account = ImpAccount.objects.get(user=dana)
    assert (account.password_state, account.work) == ("set", "")
    assert broadworks.user(dana.login)["device"]["rebuilt"] == 1


def test_no_repr_shows_a_password(dana):
    """Exceptions, debuggers and log lines show objects by their `repr`."""
    change = hold(ImpAccount.objects.get(user=dana), None, NEW)
    step = user_fields.ImpStep(None, Service(), Service(), None, None, first_password=NEW, change=change)
    assert NEW not in f"{change!r} {step!r}"
