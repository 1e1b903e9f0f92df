"""Messaging pages and the other tenant: what the walk through every door (tests/isolation) does not say."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from cpaas.models import CpaasNumber, CpaasPlatform, MediaStream, OptInEvidence
from cpaas.tests.factories import (
    CpaasNumberFactory,
    CpaasPlatformFactory,
    MediaStreamFactory,
    MessageFactory,
    OptInEvidenceFactory,
)
from portal.admin.site import site
from portal.tests.admin_walk import EVERYBODY, browser, list_of, url_of
from portal.tests.tenants import Tenant

MODELS = [model for model in site._registry if model._meta.app_label == "cpaas"]


@dataclass
class Messaging:
    """The messaging rows of one tenant."""

    platform: CpaasPlatform
    number: CpaasNumber
    stream: MediaStream
    evidence: OptInEvidence

    @property
    def rows(self) -> list[models.Model]:
        return [self.platform, self.number, self.stream, self.evidence]


def make_messaging(tenant: Tenant) -> Messaging:
    platform = CpaasPlatformFactory(system_provider=tenant.system_provider, name=f"{tenant.mark} carrier", mms=True)
    number = CpaasNumberFactory(
        user=tenant.user, platform=platform, friendly_name=f"{tenant.mark} line", opt_in_state="declined"
    )
    MessageFactory(conversation__number=number)
    stream = MediaStreamFactory(group=tenant.group, name=f"{tenant.mark} desk")
    evidence = OptInEvidenceFactory(number=number, prompt_text=f"{tenant.mark} asks")
    return Messaging(platform, number, stream, evidence)


@pytest.fixture
def both(two_tenants: tuple[Tenant, Tenant]) -> tuple[Tenant, Messaging, Tenant, Messaging]:
    acme, zenith = two_tenants
    return acme, make_messaging(acme), zenith, make_messaging(zenith)


@pytest.mark.parametrize("who", EVERYBODY)
def test_no_page_of_the_own_tenant_names_the_other(both, who: tuple[str, str]) -> None:
    acme, own, _, foreign = both
    client = browser(acme.accounts[who])
    last_four = foreign.number.number[-4:]
    urls = ["/", url_of(acme.group, "detail"), url_of(acme.user, "detail")]
    for model in MODELS:
        urls += [list_of(model), f"{list_of(model)}?q={last_four}", f"{list_of(model)}?q={foreign.number.number[2:]}"]
        urls += [f"{list_of(model)}?older={foreign.number.pk}", f"{list_of(model)}?newer={foreign.platform.pk}"]
    urls += [url_of(row, "detail") for row in own.rows]
    urls += [url_of(row, "tab", "numbers") for row in (acme.system_provider, acme.reseller, acme.group, acme.user)]
    for url in urls:
        response = client.get(url, follow=True)
        assert response.status_code in (200, 403, 404), url
        assert "Zenith" not in response.content.decode(), url


def test_s4_34_the_numbers_tab_of_every_level_lists_the_branch_and_nothing_else(both) -> None:
    acme, own, _, _ = both
    other = CpaasNumberFactory(user=acme.other_user, platform=own.platform)
    client = browser(acme.administrator)
    expected = [
        (acme.system_provider, {own.number, other}),
        (acme.reseller, {own.number}),
        (acme.other_reseller, {other}),
        (acme.group, {own.number}),
        (acme.user, {own.number}),
        (acme.colleague, set()),
    ]
    for row, numbers in expected:
        shown = client.get(url_of(row, "tab", "numbers"))
        assert set(shown.context["cl"].result_list) == numbers, row
        titles = {tab["title"]: tab["active"] for tab in shown.context["tabs"]}
        assert titles["CPaaS Numbers"] is True


def test_a_media_stream_takes_no_foreign_group_nor_agent(both) -> None:
    acme, own, zenith, _ = both
    client = browser(acme.administrator)
    data = {"name": "Taken", "media_type": "web_chat", "routing": "ring_all", "offer_timeout_s": 20}
    response = client.post(list_of(MediaStream, "add"), {**data, "group": zenith.group.pk})
    assert "Select a valid choice" in response.content.decode()
    response = client.post(url_of(own.stream, "change"), {**data, "agents": [zenith.user.pk]})
    assert "Zenith" not in response.content.decode()
    assert not MediaStream.objects.filter(name="Taken").exists()
    assert not own.stream.agents.exists()


def test_a_number_takes_no_foreign_platform(both) -> None:
    acme, _, _, foreign = both
    url = reverse("admin:cpaas_cpaasnumber_add_to_user", args=[acme.user.pk])
    response = browser(acme.administrator).post(url, {"number": "2019920760", "platform": foreign.platform.pk})
    assert "Select a valid choice" in response.content.decode()
    assert CpaasNumber.objects.filter(user=acme.user).count() == 1


@pytest.mark.parametrize("level", ["system_provider", "reseller", "group"])
def test_a_read_only_account_sees_and_may_do_nothing(both, level: str) -> None:
    acme, own, _, _ = both
    client = browser(acme.accounts[level, "read_only"])
    shown = client.get(url_of(own.number, "detail")).content.decode()
    for label in ("Reset Opt-In State", "Delete messages", "Delete number", ">Edit<"):
        assert label not in shown
    assert "Add CPaaS Number" not in client.get(url_of(acme.colleague, "detail")).content.decode()
    writes = [url_of(own.number, name) for name in ("change", "delete", "reset_opt_in", "delete_messages", "retry")]
    writes += [reverse("admin:cpaas_cpaasnumber_add_to_user", args=[acme.user.pk]), url_of(own.stream, "delete")]
    if level == "system_provider":
        writes += [url_of(own.platform, name) for name in ("change", "delete", "test")]
        writes.append(reverse("admin:cpaas_cpaasplatform_add_below", args=[acme.system_provider.pk]))
        assert "Add CPaaS Platform" not in client.get(url_of(acme.system_provider, "detail")).content.decode()
    for url in writes:
        response = client.post(url, {"name": "changed"})
        assert response.status_code == 403, url
        assert "may look but not change anything" in response.content.decode()
    own.number.refresh_from_db()
    assert (own.number.opt_in_state, own.number.messages.count()) == ("declined", 1)


@pytest.mark.parametrize("action", ["reset_opt_in", "delete_messages", "retry"])
def test_an_action_on_a_number_is_posted_never_fetched(both, action: str) -> None:
    acme, own, _, _ = both
    assert browser(acme.administrator).get(url_of(own.number, action)).status_code == 405
    own.number.refresh_from_db()
    assert (own.number.opt_in_state, own.number.messages.count()) == ("declined", 1)


def test_testing_a_platform_is_posted_never_fetched(both) -> None:
    acme, own, _, _ = both
    assert browser(acme.administrator).get(url_of(own.platform, "test")).status_code == 405


def test_the_list_of_numbers_costs_the_same_however_long(both, django_assert_max_num_queries) -> None:
    acme, own, _, _ = both
    client = browser(acme.administrator)
    with CaptureQueriesContext(connection) as few:
        client.get(list_of(CpaasNumber))
    for _ in range(10):
        CpaasNumberFactory(user=acme.user, platform=own.platform)
        CpaasNumberFactory(media_stream=own.stream, platform=own.platform)
    with django_assert_max_num_queries(len(few)):
        assert len(client.get(list_of(CpaasNumber)).context["cl"].result_list) == 21
