"""Integrated IM&P of users: assigned, enabled, the IM&P ID, and the fields of the users resource (S0.5-S0.11)."""

from __future__ import annotations

from typing import Any

import pytest

from portal.models import AuditEntry, EndUser, Event
from portal.problems import Problem
from portal.tests.factories import EndUserFactory, PortalAccountFactory, device_token
from tests.sandbox_process import BroadworksControl
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services.account_work import work_due_accounts
from xmpp.services.connections import create_connection, delete_connection
from xmpp.states import AccountStatus
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory
from xmpp.tests.switching import switch_service

pytestmark = pytest.mark.django_db(transaction=True)
ON = {"assigned": True, "enabled": True}


@pytest.fixture
def chris(connection: BroadworksConnection, broadworks: BroadworksControl) -> EndUser:
    """A user whom BroadWorks knows, without the service."""
    user = EndUserFactory(
        login="442082881248@acme.example", group__reseller__system_provider=connection.system_provider
    )
    broadworks.put_user(user.login, imp={"assigned": False, "active": False})
    return user


@pytest.fixture
def staff(chris: EndUser, api: Any) -> Any:
    return api(PortalAccountFactory(scope=chris.system_provider))


def url(user: EndUser) -> str:
    return f"/api/v1/provisioning/users/{user.pk}/"


def test_switching_the_service_on_is_written_to_broadworks_and_gives_the_jid(chris, staff, broadworks, connection):
    """S0.6, S0.9: two facts, an IM&P ID made of the login and the domain; events and an audit row tell of it."""
    answer = staff.patch(url(chris), {"integrated_imp": ON}, format="json")
    assert answer.status_code == 200
    assert answer.json()["integrated_imp"] == ON
    assert answer.json()["imp_id"] == f"442082881248@{broadworks.imp_domain}"
    assert broadworks.user(chris.login)["imp"]["active"] is True
    assert set(Event.objects.filter(user=chris).values_list("type", flat=True)) == {"xmpp.updated", "session.updated"}
    entry = AuditEntry.objects.get(action="integrated_imp")
    assert (entry.object_id, entry.after["enabled"]) == (chris.pk, True)


def test_assigned_alone_shows_no_id_and_off_takes_it_away(chris, staff, broadworks):
    """S0.8: the ID proves that the service is on. What is not assigned is not enabled either."""
    shown = staff.patch(url(chris), {"integrated_imp": {"assigned": True}}, format="json").json()
    assert (shown["integrated_imp"], shown["imp_id"]) == ({"assigned": True, "enabled": False}, "")
    staff.patch(url(chris), {"integrated_imp": {"enabled": True}}, format="json")
    shown = staff.patch(url(chris), {"integrated_imp": {"assigned": False}}, format="json").json()
    assert (shown["integrated_imp"], shown["imp_id"]) == ({"assigned": False, "enabled": False}, "")
    assert broadworks.user(chris.login)["imp"]["assigned"] is False
    wrong = staff.patch(url(chris), {"integrated_imp": {"enabled": True}}, format="json")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid")


def test_the_jid_is_read_only_on_every_face(chris, staff):
    """S0.10: neither when a user is changed nor when one is made."""
    given = {"imp_id": "other@im.example"}
    new = {"group": str(chris.group_id), "login": "new@acme.example", "name": "New", **given}
    for answer in (
        staff.patch(url(chris), given, format="json"),
        staff.post("/api/v1/provisioning/users/", new, format="json"),
    ):
        assert answer.status_code == 400
        assert "imp_id" in answer.json()["errors"]


def test_the_jid_that_broadworks_gives_wins(chris, staff, broadworks):
    """A user may have an alternate ID there."""
    broadworks.put_user(chris.login, imp={"assigned": True, "active": True, "id": "chris.alt@im.other.example"})
    assert (
        staff.patch(url(chris), {"integrated_imp": ON}, format="json").json()["imp_id"] == "chris.alt@im.other.example"
    )


@pytest.mark.parametrize(
    ("kind", "code"), [("error_response", "broadworks_refused"), ("drop", "broadworks_unreachable")]
)
def test_a_failure_at_broadworks_changes_nothing(chris, staff, broadworks, kind, code):
    broadworks.fault("UserServiceAssignListRequest", kind, summary="No licence is left")
    answer = staff.patch(url(chris), {"name": "Changed", "integrated_imp": ON}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (502, code)
    shown = staff.get(url(chris)).json()
    assert (shown["integrated_imp"]["assigned"], shown["name"]) == (False, chris.name)


def test_a_new_user_can_have_it_from_the_start(connection, broadworks, api):
    """POST with service and password: all is there at once; BroadWorks saying no leaves no user."""
    provider = connection.system_provider
    provider.auto_generate_xmpp_password = False
    provider.save()
    group = EndUserFactory(group__reseller__system_provider=provider).group
    broadworks.put_user("new@acme.example", device={"name": "pc"})
    staff = api(PortalAccountFactory(scope=provider))
    body = {"group": str(group.pk), "login": "new@acme.example", "name": "New", "integrated_imp": ON}
    body |= {"imp_password": "brand new secret 1"}
    answer = staff.post("/api/v1/provisioning/users/", body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["imp_id"] == f"new@{broadworks.imp_domain}"
    assert "imp_password" not in answer.json()
    assert broadworks.user("new@acme.example")["imp_password"] == "brand new secret 1"
    work_due_accounts()
    account = ImpAccount.objects.get(user__login="new@acme.example")
    assert (account.password, account.password_state) == ("brand new secret 1", "set")
    again = staff.post("/api/v1/provisioning/users/", body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert again.json()["id"] == answer.json()["id"]
    refused = staff.post("/api/v1/provisioning/users/", {**body, "login": "nobody@acme.example"}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (502, "broadworks_refused")
    assert not EndUser.objects.filter(login="nobody@acme.example").exists()


def test_without_broadworks_everything_is_local(api, db):
    """No connection: the service can be switched all the same; the ID comes with the domain."""
    user = EndUserFactory(login="chris@acme.example")
    staff = api(PortalAccountFactory(scope=user.system_provider))
    shown = staff.patch(url(user), {"integrated_imp": ON}, format="json").json()
    assert (shown["integrated_imp"], shown["imp_id"]) == (ON, "")
    create_connection(actor=None, system_provider=user.system_provider, imp_domain="im.acme.example")
    work_due_accounts()
    assert staff.get(url(user)).json()["imp_id"] == "chris@im.acme.example"


def test_two_users_never_share_a_jid(db):
    """The same local part in two login domains; the second is told so and stays off."""
    first = EndUserFactory(login="chris@one.example")
    BroadworksConnectionFactory(system_provider=first.system_provider)
    second = EndUserFactory(login="chris@two.example", group=first.group)
    switch_service(first, ON)
    with pytest.raises(Problem) as caught:
        switch_service(second, ON)
    assert caught.value.code == "imp_id_taken"
    assert not ImpAccount.objects.filter(user=second).exists()


def test_a_jid_once_made_stays(db):
    """Neither another login nor another domain changes it (S0.10)."""
    user = EndUserFactory(login="chris@one.example")
    connection = BroadworksConnectionFactory(system_provider=user.system_provider)
    switch_service(user, ON)
    BroadworksConnection.objects.filter(pk=connection.pk).update(imp_domain="im.changed.example")
    EndUser.objects.filter(pk=user.pk).update(login="other@one.example")
    user.refresh_from_db()
    switch_service(user, {"enabled": False})
    switch_service(user, {"enabled": True})
    assert ImpAccount.objects.get(user=user).imp_id == "chris@im.example"


def test_switching_on_again_ends_a_terminal_status(db):
    """A session that gave up may try once more; the version tells the bridge."""
    account = ImpAccountFactory(status=AccountStatus.AUTHENTICATION_FAILED)
    for enabled in (False, True):
        switch_service(account.user, {"enabled": enabled})
    version = account.version
    account.refresh_from_db()
    assert (account.status, account.version) == (AccountStatus.OFFLINE, version + 2)


def test_the_session_and_the_endpoint_follow_the_service(chris, api):
    """S0.5: the settings item is there only when assigned AND enabled; otherwise `xmpp/` is 404."""
    client = api(device_token(chris))
    assert client.get("/api/v1/session/").json()["features"]["xmpp"] is False
    assert client.get("/api/v1/xmpp/").status_code == 404
    switch_service(chris, ON)
    assert client.get("/api/v1/session/").json()["features"]["xmpp"] is True
    shown = client.get("/api/v1/xmpp/").json()
    assert (shown["status"], shown["password_managed"], shown["password_state"]) == ("offline", True, "none")
    assert shown["last_message_received_at"] is None
    switch_service(chris, {"enabled": False})
    assert client.get("/api/v1/xmpp/").status_code == 404


def test_read_only_accounts_and_other_levels(chris, connection, api):
    """The connection is the system provider's; those below neither see nor change it."""
    reader = api(PortalAccountFactory(scope=chris.system_provider, role="read_only"))
    assert reader.patch(url(chris), {"integrated_imp": ON}, format="json").json()["code"] == "read_only"
    below = api(PortalAccountFactory(scope=chris.group))
    assert below.get(f"/api/v1/provisioning/broadworks/{connection.pk}/").status_code == 404
    assert below.patch(url(chris), {"integrated_imp": ON}, format="json").status_code == 200


def test_deleting_a_connection_keeps_accounts(chris, connection):
    switch_service(chris, ON)
    delete_connection(actor=None, connection=connection)
    assert ImpAccount.objects.get(user=chris).imp_id
