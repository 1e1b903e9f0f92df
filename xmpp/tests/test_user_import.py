"""Users taken over from BroadWorks: row by row, with a dry run, never deleting, never touching passwords."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.models import AuditEntry, EndUser
from portal.tests.factories import EndUserFactory, GroupFactory, PortalAccountFactory
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.tests.factories import ImpAccountFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def group(connection: BroadworksConnection) -> Any:
    return GroupFactory(reseller__system_provider=connection.system_provider)


@pytest.fixture
def take(connection: BroadworksConnection, group: Any, api: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """The import by the API; the rows by login."""
    staff = api(PortalAccountFactory(scope=connection.system_provider))

    def post(dry_run: int = 0, status: int = 200, **changes: Any) -> dict[str, Any]:
        body = {"service_provider": "sandbox", "broadworks_group": "sandbox", "group": str(group.pk), **changes}
        answer = staff.post(
            f"/api/v1/provisioning/broadworks/{connection.pk}/import/?dry_run={dry_run}", body, format="json"
        )
        assert answer.status_code == status, answer.content
        report = answer.json()
        return {row["login"]: row for row in report["results"]} if status == 200 else report

    return post


def test_new_users_come_with_everything_that_is_known(take, broadworks, group):
    """Login, name, extension, mobile in E.164, country, IM&P; and no password, so nobody can log in yet."""
    person = {"first_name": "Zoë", "last_name": "Łuk", "extension": "2001", "mobile": "07480 542780"}
    broadworks.put_user("zoe@acme.example", **person, country_code="44", email="zoe@acme.example")
    looked = take(dry_run=1)["zoe@acme.example"]
    assert looked["action"] == "create"
    assert looked["changes"]["mobile"] == [None, "+447480542780"]
    assert not EndUser.objects.filter(login="zoe@acme.example").exists()
    assert take()["zoe@acme.example"] == looked
    user = EndUser.objects.get(login="zoe@acme.example")
    assert (user.name, user.extension, user.country, user.group_id) == ("Zoë Łuk", "2001", "GB", group.pk)
    assert (user.password, user.licence, user.email) == ("", "none", "zoe@acme.example")
    account = ImpAccount.objects.get(user=user)
    assert (account.assigned, account.enabled, account.imp_id) == (True, True, f"zoe@{broadworks.imp_domain}")
    assert take()["zoe@acme.example"]["action"] == "unchanged"


def test_known_users_are_brought_up_to_date_and_nothing_is_emptied(take, broadworks, group):
    """What BroadWorks leaves empty stays; so do licence and password, and who is gone there."""
    user = EndUserFactory(login="Chris@acme.example", name="Old name", mobile="+12015550100", group=group)
    gone = EndUserFactory(group=group)
    broadworks.put_user("chris@acme.example", last_name="New name", imp={"assigned": False, "active": False})
    assert take()["chris@acme.example"]["changes"] == {"name": ["Old name", "New name"], "country": ["", "US"]}
    before = user.password
    user.refresh_from_db()
    assert (user.name, user.mobile, user.licence, user.password) == ("New name", "+12015550100", "desktop", before)
    assert EndUser.objects.filter(pk=gone.pk).exists()


def test_a_service_that_was_switched_there_is_switched_here(take, broadworks, group):
    EndUserFactory(login="chris@acme.example", group=group)
    broadworks.put_user("chris@acme.example")
    assert take()["chris@acme.example"]["changes"]["enabled"] == [False, True]
    broadworks.put_user("chris@acme.example", imp={"assigned": True, "active": False})
    assert take()["chris@acme.example"]["changes"] == {"enabled": [True, False]}
    assert not ImpAccount.objects.get().enabled


def test_conflicts_are_told_and_stop_nobody(take, broadworks, group):
    """A login of another group or tenant, an IM&P ID that is taken; of strangers nothing is said."""
    EndUserFactory(login="stranger@acme.example", name="Secret Stranger")
    other = GroupFactory(reseller=group.reseller, name="The other group")
    EndUserFactory(login="moved@acme.example", group=other)
    EndUserFactory(login="taken@one.example", group=group)
    for login in ("stranger@acme.example", "moved@acme.example", "taken@one.example", "taken@two.example", "good@x"):
        broadworks.put_user(login, last_name=login[:5])
    rows = take()
    actions = {login: row["action"] for login, row in rows.items()}
    assert actions.pop("good@x") == "create"
    assert actions.pop("taken@one.example") == "update"
    assert set(actions.values()) == {"conflict"}
    assert "Stranger" not in rows["stranger@acme.example"]["detail"]
    assert "The other group" in rows["moved@acme.example"]["detail"]
    assert not EndUser.objects.filter(login="taken@two.example").exists(), "not half of a row"
    assert EndUser.objects.filter(login="good@x").exists()


def test_the_dry_run_meets_what_the_import_would(take, broadworks, group, connection):
    """An IM&P ID that is taken, an address that is none: conflicts in both; what is tried is taken back."""
    ImpAccountFactory(imp_id=f"chris@{broadworks.imp_domain}")
    broadworks.put_user("chris@acme.example", last_name="Chris")
    broadworks.put_user("dana@acme.example", last_name="Dana", email="no address")
    broadworks.put_user("eve@acme.example", last_name="Eve")
    looked = take(dry_run=1)
    assert {login[:3]: row["action"] for login, row in looked.items()} == {
        "chr": "conflict",
        "dan": "conflict",
        "eve": "create",
    }
    assert not EndUser.objects.filter(group=group).exists()
    assert not AuditEntry.objects.exists()
    assert take() == looked


def test_a_number_that_is_none_is_left_out(take, broadworks):
    broadworks.put_user("chris@acme.example", mobile="call me")
    row = take()["chris@acme.example"]
    assert (row["action"], "mobile" in row["changes"]) == ("create", False)
    assert "call me" in row["detail"]


def test_what_cannot_be_asked(take, broadworks, connection, group):
    broadworks.put_user("chris@acme.example")
    broadworks.fault("UserGetRequest23V2", "error_response", summary="Try again")
    assert take()["chris@acme.example"]["action"] == "conflict"
    broadworks.fault("UserGetListInGroupRequest", "drop")
    assert take(status=502)["code"] == "broadworks_unreachable"
    assert take(status=404, group=str(GroupFactory().pk))["code"] == "not_found"
    BroadworksConnection.objects.update(host="")
    assert take(status=409)["code"] == "no_broadworks"
