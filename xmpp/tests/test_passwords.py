"""XMPP passwords: changed by users and staff, generated, written to BroadWorks and to devices (S0.12-S0.24, R1, R2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal import clock
from portal.models import AuditEntry, EndUser, Event
from portal.problems import Problem
from portal.tests.factories import PASSWORD, EndUserFactory, PortalAccountFactory, device_token
from tests.sandbox_process import BroadworksControl
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services import password_changes, passwords
from xmpp.services.account_work import work_due_accounts
from xmpp.states import AccountStatus, PasswordState, Work
from xmpp.tests.factories import ImpAccountFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]
OLD, NEW = "the password from before", "quite another password"
URL = "/api/v1/xmpp/password/"


@pytest.fixture
def account(connection: BroadworksConnection, broadworks: BroadworksControl) -> ImpAccount:
    """An account that is on, with a password and UC-One, of a brand that lets users choose passwords."""
    connection.system_provider.auto_generate_xmpp_password = False
    connection.system_provider.save()
    user = EndUserFactory(login="chris@acme.example", group__reseller__system_provider=connection.system_provider)
    broadworks.put_user(user.login, device={"name": "pc"}, imp_password=OLD)
    return ImpAccountFactory(user=user, imp_id=f"chris@{broadworks.imp_domain}", password=OLD)


@pytest.fixture
def managed(account: ImpAccount) -> ImpAccount:
    """The same of a brand that generates passwords, before the first start."""
    account.system_provider.auto_generate_xmpp_password = True
    account.system_provider.save()
    account.password, account.password_state = "", PasswordState.NONE
    account.save()
    return account


@pytest.fixture
def client(account: ImpAccount, api: Callable[..., Any]) -> Any:
    return api(device_token(account.user))


def change(client: Any, password: str = NEW, retype: str | None = None) -> Any:
    return client.post(URL, {"password": password, "retype": password if retype is None else retype}, format="json")


def tags(broadworks: BroadworksControl, account: ImpAccount) -> Any:
    return broadworks.user(account.user.login)["device"]


def test_a_change_reaches_broadworks_the_device_and_the_client(account, client, broadworks):
    """S0.13, S0.16, S0.22: set there and here, tags written, files built and sent, an event, an audit row."""
    answer = change(client)
    assert answer.status_code == 200, answer.json()
    assert answer.json()["password_state"] == "set"
    assert broadworks.user(account.user.login)["imp_password"] == NEW
    device = tags(broadworks, account)
    assert device["tags"] == {"%XMPP_USERNAME%": account.imp_id, "%XMPP_PASSWORD%": NEW}
    assert (device["rebuilt"], device["reset"]) == (1, 1)
    version = account.version
    account.refresh_from_db()
    assert (account.password, account.pending_password, account.work, account.claim) == (NEW, "", "", None)
    assert account.version == version + 1
    assert set(Event.objects.values_list("type", flat=True)) == {"xmpp.updated"}
    entry = AuditEntry.objects.get(action="imp_password")
    assert (entry.after, entry.actor_name) == ({"imp_password": "changed"}, account.user.login)


@pytest.mark.parametrize(
    ("password", "retype", "code"),
    [(NEW, NEW + "x", "mismatch"), ("short12", "short12", "too_short"), (PASSWORD, PASSWORD, "same_as_login")],
)
def test_what_is_refused_leaves_everything(account, client, broadworks, password, retype, code):
    """R1, S0.17: refused with a text, and BroadWorks hears nothing."""
    answer = change(client, password, retype)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert broadworks.commands() == []
    assert ImpAccount.objects.get().password == OLD


@pytest.mark.parametrize("password", ["tab\tinside it", "x" * 101, "bell\x07ringing", " spaces around "])
def test_what_cannot_be_typed_is_no_password(account, client, password):
    assert change(client, password).json()["code"] == "invalid"


def test_guessing_the_login_password_is_throttled(account, client, settings, within_a_minute):
    """The refusal says that it is the login password, so attempts count as those of logins do."""
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 3
    codes = [change(client, PASSWORD).json()["code"] for _ in range(4)]
    assert codes == ["same_as_login"] * 3 + ["rate_limited"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "error_response", "summary": "Password is too weak"}, "broadworks_refused"),
        ({"kind": "drop"}, "broadworks_unreachable"),
        ({"kind": "reset"}, "broadworks_unreachable"),
        ({"kind": "html"}, "broadworks_unreachable"),
    ],
)
def test_a_failure_changes_nothing_on_either_side(account, client, broadworks, fault, code):
    """502, the old password holds; what BroadWorks may have taken is set back to it."""
    broadworks.fault("UserModifyRequest22", after_accept=fault["kind"] != "error_response", **fault)
    answer = change(client)
    assert (answer.status_code, answer.json()["code"]) == (502, code)
    account.refresh_from_db()
    assert (account.password, account.pending_password) == (OLD, "")
    work_due_accounts()
    assert broadworks.user(account.user.login)["imp_password"] == OLD
    assert ImpAccount.objects.get().work == ""
    assert change(client).status_code == 200


def test_an_unreachable_broadworks_leaves_nothing_to_do(account, client, broadworks):
    broadworks.settings(state="refusing")
    assert change(client).json()["code"] == "broadworks_unreachable"
    account.refresh_from_db()
    assert (account.password, account.work, account.claim) == (OLD, "", None)


def test_restoring_goes_on_until_broadworks_answers(account, client, broadworks):
    """A doubtful change, and BroadWorks away for a while after it."""
    broadworks.fault("UserModifyRequest22", "drop", times=2, after_accept=True)
    change(client)
    work_due_accounts()
    account.refresh_from_db()
    assert (account.work, account.work_tries) == (Work.RESTORE, 1)
    ImpAccount.objects.update(work_due_at=clock.now())
    work_due_accounts()
    assert broadworks.user(account.user.login)["imp_password"] == OLD
    assert ImpAccount.objects.get().work == ""


def test_only_the_device_failing_is_tried_again(account, client, broadworks):
    """S0.22: the password is set, its state says that the device is behind, a task catches up."""
    broadworks.fault("GroupCPEConfigRebuildDeviceConfigFileRequest", "error_response", code="4600", summary="Busy")
    answer = change(client)
    assert (answer.status_code, answer.json()["password_state"]) == (200, "device_config_pending")
    account.refresh_from_db()
    assert (account.password, account.work, account.claim) == (NEW, Work.DEVICE, None)
    work_due_accounts()
    assert tags(broadworks, account)["rebuilt"] == 0, "not before it is due"
    ImpAccount.objects.update(work_due_at=clock.now())
    work_due_accounts()
    assert tags(broadworks, account)["rebuilt"] == 1
    assert ImpAccount.objects.get().password_state == PasswordState.SET


def test_a_device_that_is_no_longer_to_be_told_is_given_up(account, client, broadworks):
    """The tags were taken out of the connection while the file was behind."""
    broadworks.fault("GroupCPEConfigRebuildDeviceConfigFileRequest", "error_response", summary="Busy")
    change(client)
    BroadworksConnection.objects.update(device_tag_user="", device_tag_password="")
    ImpAccount.objects.update(work_due_at=clock.now())
    work_due_accounts()
    account.refresh_from_db()
    assert (account.password_state, account.work, account.claim) == (PasswordState.SET, "", None)
    assert tags(broadworks, account)["reset"] == 0


def test_a_user_without_a_jid_gets_one_before_the_device(account, client, broadworks):
    """What is left to do is done in its order."""
    ImpAccount.objects.update(imp_id="")
    assert change(client).json()["password_state"] == "device_config_pending"
    ImpAccount.objects.update(work_due_at=clock.now())
    work_due_accounts()
    account.refresh_from_db()
    assert account.imp_id == f"chris@{broadworks.imp_domain}"
    assert (account.password_state, account.work) == (PasswordState.SET, "")
    assert tags(broadworks, account)["tags"]["%XMPP_USERNAME%"] == account.imp_id


def test_a_desk_phone_is_left_alone(account, client, broadworks):
    """Only devices of UC-One's types: others would be restarted for nothing."""
    broadworks.put_user(account.user.login, device={"name": "desk", "type": "Polycom VVX"})
    assert change(client).json()["password_state"] == "set"
    device = tags(broadworks, account)
    assert (device["tags"], device["reset"]) == ({}, 0)


def test_a_user_without_uc_one_needs_no_device(account, client, broadworks):
    """S0.11: nothing but Integrated IM&P is needed."""
    broadworks.put_user(account.user.login, device=None)
    assert change(client).json()["password_state"] == "set"


def test_without_broadworks_the_password_is_just_stored(account, client, broadworks):
    BroadworksConnection.objects.update(host="")
    assert change(client).json()["password_state"] == "set"
    assert broadworks.commands() == []
    assert ImpAccount.objects.get().password == NEW


def test_two_changes_at_once_do_not_mix(account, client):
    """While one is on its way another is told to wait; a claim that ran out is anybody's."""
    held = password_changes.hold(account, None, "somebody else's new one")
    assert (change(client).status_code, change(client).json()["code"]) == (409, "change_in_progress")
    ImpAccount.objects.update(work_due_at=clock.now())
    assert change(client).status_code == 200
    with pytest.raises(Problem) as caught:
        password_changes.adopt(None, account.user, held, how="changed")
    assert caught.value.code == "broadworks_unreachable"
    account.refresh_from_db()
    assert (account.password, account.work) == (NEW, Work.RESTORE), "the late one may have reached BroadWorks"


def test_a_terminal_status_ends_with_a_new_password(account, client):
    """One wrong attempt ends a session for good; a new password starts over."""
    ImpAccount.objects.update(status=AccountStatus.AUTHENTICATION_FAILED, status_reason="Wrong password")
    assert change(client).json()["status"] == "offline"


def test_off_means_404(account, client):
    ImpAccount.objects.update(enabled=False)
    assert change(client).status_code == 404


# --- Generated ------------------------------------------------------------------------------------------------------
def test_the_first_start_of_a_client_generates_one(managed, client, broadworks):
    """S0.18-S0.21, R2, R38: at least 15 random characters, written once; later starts use it again."""
    assert managed.system_provider.auto_generate_xmpp_password, "on for a new brand"
    answer = client.get("/api/v1/session/")
    assert answer.status_code == 200
    assert ImpAccount.objects.get().password == "", "the answer does not wait for BroadWorks"
    work_due_accounts()
    account = ImpAccount.objects.get()
    assert len(account.password) >= 15
    assert broadworks.user(account.user.login)["imp_password"] == account.password
    assert tags(broadworks, account)["tags"]["%XMPP_PASSWORD%"] == account.password
    assert AuditEntry.objects.get(action="imp_password").actor_kind == "system"
    client.get("/api/v1/session/")
    work_due_accounts()
    assert broadworks.user(account.user.login)["imp_password_set_count"] == 1


def test_generated_passwords_are_random():
    """S0.20: from a CSPRNG, no two alike, with every kind of character."""
    made = {passwords.new_password() for _ in range(200)}
    assert len(made) == 200
    assert all(len(each) >= 15 and any(map(str.isdigit, each)) and not each.islower() for each in made)


def test_nobody_types_one_where_they_are_generated(managed, client, api):
    """S0.24: neither the user nor staff; the client sees that it is managed."""
    assert (change(client).status_code, change(client).json()["code"]) == (409, "password_managed")
    assert client.get("/api/v1/xmpp/").json()["password_managed"] is True
    staff = api(PortalAccountFactory(scope=managed.system_provider))
    item = f"/api/v1/provisioning/users/{managed.pk}/"
    answer = staff.patch(item, {"imp_password": NEW}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "password_managed")


def test_generation_waits_for_broadworks(managed, client, broadworks):
    """Refused or away: tried again with the same password, later and later."""
    broadworks.fault("UserModifyRequest22", "drop", after_accept=True)
    client.get("/api/v1/session/")
    work_due_accounts()
    account = ImpAccount.objects.get()
    assert (account.password, account.work, account.password_state) == ("", Work.GENERATE, "none")
    first = broadworks.user(account.user.login)["imp_password"]
    ImpAccount.objects.update(work_due_at=clock.now())
    work_due_accounts()
    assert ImpAccount.objects.get().password == first


def test_an_account_that_is_off_gets_none(managed, client, broadworks):
    ImpAccount.objects.update(enabled=False)
    client.get("/api/v1/session/")
    work_due_accounts()
    assert broadworks.commands() == []


def test_switching_the_brand_off_keeps_the_password(managed, client):
    """S0.24: the last one stays until it is changed."""
    client.get("/api/v1/session/")
    work_due_accounts()
    before = ImpAccount.objects.get().password
    managed.system_provider.auto_generate_xmpp_password = False
    managed.system_provider.save()
    assert client.get("/api/v1/xmpp/").json()["password_managed"] is False
    assert ImpAccount.objects.get().password == before
    assert change(client).status_code == 200


# --- Staff ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def staff(account: ImpAccount, api: Callable[..., Any]) -> Any:
    return api(PortalAccountFactory(scope=account.system_provider))


def item(user: EndUser, action: str = "") -> str:
    return f"/api/v1/provisioning/users/{user.pk}/{action}"


def test_staff_set_one_and_generate_anew(account, staff, broadworks):
    """S0.7, S0.24: `imp_password` is write-only, *Generate anew* works whatever the brand."""
    answer = staff.patch(item(account.user), {"imp_password": NEW}, format="json")
    assert answer.status_code == 200, answer.json()
    assert NEW not in answer.content.decode()
    assert broadworks.user(account.user.login)["imp_password"] == NEW
    answer = staff.post(item(account.user, "generate-imp-password/"), {}, format="json")
    assert (answer.status_code, answer.json()["imp_id"]) == (200, account.imp_id)
    made = ImpAccount.objects.get().password
    assert made == broadworks.user(account.user.login)["imp_password"] != NEW
    assert made not in answer.content.decode()


def test_staff_are_told_why_not(account, staff, broadworks):
    assert staff.patch(item(account.user), {"imp_password": "short"}, format="json").json()["code"] == "too_short"
    broadworks.settings(state="refusing")
    answer = staff.patch(item(account.user), {"imp_password": NEW}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (502, "broadworks_unreachable")
    ImpAccount.objects.update(enabled=False)
    for answer in (
        staff.patch(item(account.user), {"imp_password": NEW}, format="json"),
        staff.post(item(account.user, "generate-imp-password/"), {}, format="json"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "imp_not_enabled")


def test_one_dead_broadworks_does_not_hold_up_another(account, broadworks, db):
    """After one time-out all that is due there waits; another tenant's is done."""
    ImpAccount.objects.update(work=Work.RESTORE, work_due_at=clock.now())
    others = [
        ImpAccountFactory(user__group=account.user.group, work=Work.RESTORE, work_due_at=clock.now()) for _ in range(3)
    ]
    BroadworksConnection.objects.update(port=1)
    assert work_due_accounts() == 1
    assert ImpAccount.objects.filter(pk__in=[other.pk for other in others], work_due_at__gt=clock.now()).count() == 3


def test_a_service_raises_for_whoever_has_none(db):
    with pytest.raises(Problem) as caught:
        passwords.generate_password(actor=None, user=EndUserFactory())
    assert caught.value.code == "imp_not_enabled"
