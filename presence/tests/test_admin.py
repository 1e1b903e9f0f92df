"""*Presence* on a user's page of the staff site."""

from __future__ import annotations

import pytest
from django.test import Client

from portal.tests.tenants import Tenant
from presence.merge import Kind, Report
from presence.states import Detail, Status
from presence.tests.factories import NoteFactory, OwnStatusFactory, TableOfUsers, TableSource, registered

pytestmark = [pytest.mark.django_db, pytest.mark.core]


def test_staff_see_the_merged_presence_every_source_and_why(tenant: Tenant, client: Client) -> None:
    OwnStatusFactory(user=tenant.user, status="available", message="<b>Here</b>")
    NoteFactory(user=tenant.user, text="Ask <i>Tom</i>", author=tenant.colleague)
    phones, servers = TableOfUsers(), TableSource()
    busy = Report(Kind.TELEPHONY, "Kamailio", Status.BUSY, detail=Detail.ON_HOLD, preferred=True)
    phones.table[tenant.user.pk] = [busy]
    servers.table[None, tenant.user.pk] = [Report(Kind.RICH, "xmpp", Status.AWAY, message="Coffee")]
    client.force_login(tenant.administrator)
    with registered(phones), registered(servers):
        page = client.get(f"/users/{tenant.user.pk}/").content.decode()
    section = page[page.index('id="presence"') :]
    for words in (
        '<span class="p-badge p-bad">Busy</span>',
        "&lt;b&gt;Here&lt;/b&gt;",
        "Ask &lt;i&gt;Tom&lt;/i&gt;",
        tenant.colleague.name,
        "Busy, says the telephone (Kamailio), on hold: busy goes before away and available.",
        "Away, says xmpp; the user&#x27;s own status stands in its place.",
        "Kamailio (preferred)",
        "Chosen by the user",
        "Open clients",
        "Coffee",
    ):
        assert words in section, words
