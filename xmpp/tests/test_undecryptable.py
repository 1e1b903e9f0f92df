"""A secret that cannot be decrypted (its key is lost, the row is damaged) is the trouble of its own row only (R9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection as database
from django.db import models
from rest_framework.test import APIClient

from portal.models import EndUser, PortalAccount
from portal.residents.database import close_database_threads
from portal.services.users import update_user
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.factories import device_token
from portal.tests.residents import eventually, hosting
from tests.sandbox_process import BroadworksControl
from xmpp.gateway import SmsGatewayResident
from xmpp.models import BroadworksConnection, ImpAccount, SmsGateway
from xmpp.services import connections, gateways
from xmpp.services.account_work import work_due_accounts
from xmpp.states import AccountStatus, GatewayStatus, Work
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory
from xmpp.tests.messaging import get
from xmpp.tests.running import bridging, wait_online

pytestmark = pytest.mark.django_db(transaction=True)
SENTENCE = "cannot be decrypted. Set it anew."


def damage(row: models.Model, column: str) -> None:
    """What is stored is under a key that nobody has."""
    table, key = row._meta.db_table, row._meta.pk
    assert key is not None
    with database.cursor() as cursor:
        update = f"UPDATE {table} SET {column} = %s WHERE {key.column} = %s"
        cursor.execute(update, ["00000000:gone", str(row.pk)])


def choose_password(user: EndUser, operator: PortalAccount, password: str) -> None:
    user.system_provider.auto_generate_xmpp_password = False
    user.system_provider.save()
    update_user(actor=operator, user=user, changes={}, parts={"imp_password": password})


# --- Accounts -------------------------------------------------------------------------------------------------------
def test_s0_13_the_others_of_a_worker_are_served(
    api: Callable[[Any], APIClient], account: ImpAccount, colleague: ImpAccount, operator: PortalAccount
) -> None:
    """The damaged one says why it is not online, to its user and to staff, until the password is set anew."""
    password = account.password
    damage(account, "password")
    ImpAccount.objects.filter(pk=account.pk).update(status=AccountStatus.ONLINE)
    with bridging(colleague):
        offline = ImpAccount.objects.filter(pk=account.pk, status=AccountStatus.OFFLINE)
        eventually(offline.exists, "the damaged one is offline")
        answer = get(api(device_token(account.user)), "xmpp/")
        assert answer["reason"].endswith(SENTENCE)
        for url in (list_of(ImpAccount), url_of(account, "detail"), url_of(account.user, "detail")):
            assert SENTENCE in browser(operator).get(url).content.decode()
        choose_password(account.user, operator, password)
        wait_online(account)


# --- BroadWorks -----------------------------------------------------------------------------------------------------
@pytest.fixture
def damaged(connection: BroadworksConnection) -> BroadworksConnection:
    """The connection of another system provider to the same BroadWorks; made first, so that its turn is first."""
    fields = ("host", "port", "username", "password", "imp_domain", "xmpp_host")
    row = BroadworksConnectionFactory(**{name: getattr(connection, name) for name in fields})
    damage(row, "password")
    return row


def test_all_connections_are_tested(connection: BroadworksConnection, damaged: BroadworksConnection) -> None:
    assert connections.test_every_connection() == 2
    states = dict(BroadworksConnection.objects.values_list("pk", "status"))
    assert states == {connection.pk: "connected", damaged.pk: "failed"}
    assert SENTENCE in BroadworksConnection.objects.get(pk=damaged.pk).status_detail


def test_work_at_other_broadworks_is_done(
    broadworks: BroadworksControl, connection: BroadworksConnection, damaged: BroadworksConnection
) -> None:
    """S0.18: what is to be done at the damaged one waits with its reason."""
    waiting, done = (
        ImpAccountFactory(
            user__group__reseller__system_provider=each.system_provider,
            password="",
            password_state="none",
            work=Work.GENERATE,
            work_due_at=each.created_at,
        )
        for each in (damaged, connection)
    )
    for each in (waiting, done):
        broadworks.put_user(each.user.login)
    assert work_due_accounts() == 2
    waiting.refresh_from_db()
    done.refresh_from_db()
    assert (bool(done.password), bool(waiting.password)) == (True, False)
    assert SENTENCE in waiting.work_detail


def test_staff_enter_the_password_anew(
    api: Callable[[Any], APIClient],
    connection: BroadworksConnection,
    damaged: BroadworksConnection,
    operator: PortalAccount,
) -> None:
    """Pages and lists show the row and say what is the matter; any other change is refused with that reason."""
    url = f"/api/v1/provisioning/broadworks/{damaged.pk}/"
    assert api(operator).get("/api/v1/provisioning/broadworks/").status_code == 200
    for page in (list_of(BroadworksConnection), url_of(damaged, "detail")):
        assert browser(operator).get(page).status_code == 200
    refused = api(operator).patch(url, {"device_tag_user": "%USER%"}, format="json")
    assert refused.status_code == 502
    assert SENTENCE in refused.json()["detail"]
    assert api(operator).patch(url, {"password": connection.password}, format="json").status_code == 200
    assert BroadworksConnection.objects.get(pk=damaged.pk).password == connection.password


def test_a_password_is_not_changed_where_broadworks_cannot_be_told(
    damaged: BroadworksConnection, operator: PortalAccount
) -> None:
    """And the account is free at once, to be changed when it can."""
    account = ImpAccountFactory(user__group__reseller__system_provider=damaged.system_provider)
    with pytest.raises(connections.Problem, match=SENTENCE):
        choose_password(account.user, operator, "quite another password")
    account.refresh_from_db()
    assert (account.claim, account.pending_password, account.work) == (None, "", "")


# --- The gateway ----------------------------------------------------------------------------------------------------
def test_a_gateway_says_that_its_secret_cannot_be_decrypted(
    api: Callable[[Any], APIClient], connection: BroadworksConnection, operator: PortalAccount
) -> None:
    """On every face, and is set right by a new one."""
    row = SmsGateway.objects.create(
        system_provider=connection.system_provider, domain="sms.example", host="127.0.0.1", port=1, secret="s" * 8
    )
    damage(row, "secret")
    row = SmsGateway.objects.get()
    assert gateways.test_gateway(actor=operator, gateway=row).status_detail.endswith(SENTENCE)
    SmsGateway.objects.update(status="", status_detail="")
    refused = SmsGateway.objects.filter(status=GatewayStatus.REFUSED)
    with hosting(SmsGatewayResident):
        eventually(refused.exists, "the gateway says that it is refused")
    close_database_threads()
    assert SmsGateway.objects.get().status_detail.endswith(SENTENCE)
    url = f"/api/v1/provisioning/sms-gateways/{row.pk}/"
    assert SENTENCE in api(operator).get(url).json()["secret"]
    for page in (list_of(SmsGateway), url_of(row, "detail"), url_of(row, "change")):
        assert SENTENCE in browser(operator).get(page).content.decode() or page == list_of(SmsGateway)
    assert api(operator).patch(url, {"port": 2}, format="json").json()["errors"].keys() == {"secret"}
    assert api(operator).patch(url, {"secret": "another-secret"}, format="json").status_code == 200
    assert SmsGateway.objects.get().secret == "another-secret"
