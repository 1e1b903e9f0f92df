"""Traffic by the hour and its chart: what the landing page shows costs the same however many texts there are."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cpaas.admin.traffic import draw
from cpaas.models import CpaasNumber, Message, TrafficHour
from cpaas.models.traffic import EVERYBODY
from cpaas.services import retention
from cpaas.services.traffic import Counts, count_recent, count_unsettled, traffic_by_day
from cpaas.tests.factories import ConversationFactory, CpaasNumberFactory, CpaasPlatformFactory, MessageFactory
from portal import clock
from portal.models import PortalAccount
from portal.tests.admin_walk import browser
from portal.tests.tenants import Tenant

pytestmark = [pytest.mark.django_db, pytest.mark.core]


@pytest.fixture
def number(tenant: Tenant) -> CpaasNumber:
    return CpaasNumberFactory(
        user=tenant.user,
        platform=CpaasPlatformFactory(system_provider=tenant.system_provider),
        friendly_name="Acme line",
    )


def texts(number: CpaasNumber, at: datetime, **counts: int) -> None:
    """So many messages of each status at that time; what is received came in."""
    conversation = ConversationFactory(number=number)
    for status, count in counts.items():
        direction = "in" if status in ("received", "held") else "out"
        made = [MessageFactory(conversation=conversation, direction=direction, status=status) for _ in range(count)]
        Message.objects.filter(pk__in=[message.pk for message in made]).update(created_at=at)


def today(account: PortalAccount) -> Counts:
    return list(traffic_by_day(actor=account, zone=UTC).values())[-1]


def test_each_level_sees_its_own_texts_counted(tenant: Tenant, number: CpaasNumber, operator: PortalAccount) -> None:
    other = CpaasNumberFactory(user=tenant.other_user, platform=number.platform)
    texts(number, clock.now(), received=2, held=1, delivered=1, queued=1, failed=1, undelivered=1)
    texts(other, clock.now(), received=1)
    count_recent()
    for level in ("reseller", "group"):
        assert today(tenant.accounts[level, "administrator"]) == Counts(3, 2, 2)
    assert today(tenant.administrator) == Counts(4, 2, 2)
    assert today(operator) == Counts(4, 2, 2)


def test_a_foreign_tenant_sees_none_of_it(two_tenants: tuple[Tenant, Tenant]) -> None:
    acme, zenith = two_tenants
    platform = CpaasPlatformFactory(system_provider=acme.system_provider)
    texts(CpaasNumberFactory(user=acme.user, platform=platform), clock.now(), received=2)
    count_recent()
    assert all(today(account) == Counts() for account in zenith.accounts.values())


def test_a_late_receipt_and_a_second_counting_change_what_is_counted(tenant: Tenant, number: CpaasNumber) -> None:
    texts(number, clock.now() - timedelta(hours=30), sent=2)
    count_unsettled()
    Message.objects.filter(pk=Message.objects.first().pk).update(status="undelivered")
    for _ in range(2):
        count_unsettled()
    found = traffic_by_day(actor=tenant.administrator, zone=UTC)
    total = Counts()
    for counts in found.values():
        total.add(counts)
    assert total == Counts(sent=1, failed=1)


def test_hours_missed_while_no_worker_ran_are_counted_later(tenant: Tenant, number: CpaasNumber) -> None:
    hour = (clock.now() - timedelta(days=9)).replace(minute=0, second=0, microsecond=0)
    TrafficHour.objects.create(scope_id=EVERYBODY, hour=hour)
    texts(number, clock.now() - timedelta(days=6), received=1)
    count_unsettled()
    assert sum(each.received for each in traffic_by_day(actor=tenant.administrator, zone=UTC).values()) == 1


def test_traffic_stays_when_texts_are_purged(tenant: Tenant, number: CpaasNumber) -> None:
    texts(number, clock.now() - timedelta(days=20), received=3)
    count_unsettled()
    retention.purge(as_of=clock.now() + timedelta(days=90))
    count_unsettled()
    assert not Message.objects.exists()
    assert sum(each.received for each in traffic_by_day(actor=tenant.administrator, zone=UTC).values()) == 3


@pytest.mark.parametrize(("zone", "day"), [("Europe/Berlin", 22), ("America/New_York", 21), ("UTC", 21)])
def test_r28_a_day_is_one_of_the_viewers_zone(tenant: Tenant, number: CpaasNumber, zone: str, day: int) -> None:
    TrafficHour.objects.create(
        scope_id=tenant.system_provider.pk, hour=datetime(2026, 11, 21, 23, tzinfo=UTC), received=1
    )
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    found = traffic_by_day(actor=tenant.administrator, zone=ZoneInfo(zone), now=now)
    assert [found_day.day for found_day, counts in found.items() if counts.total] == [day]
    assert len(found) == 30


def test_the_chart_fits_its_scale_and_says_what_it_shows() -> None:
    days = [date(2026, 11, day) for day in (1, 2, 3)]
    chart = draw({days[0]: Counts(), days[1]: Counts(30, 20, 5), days[2]: Counts(1, 0, 0)})
    assert (chart.top, chart.half, chart.width) == (100, 50, 30)
    assert [bar.kind for bar in chart.days[1].bars] == ["received", "sent", "failed"]
    assert sum(bar.height for bar in chart.days[1].bars) == pytest.approx(55)
    assert chart.days[1].bars[-1].y == pytest.approx(45)
    assert chart.summary == (
        "Texts of the last 3 days: 31 received, 20 sent, 5 not delivered. The busiest day was 02/11/2026 with 55."
    )
    assert draw({days[0]: Counts()}).top == 2


def test_the_landing_page_links_to_exactly_what_needs_attention(tenant: Tenant, number: CpaasNumber) -> None:
    client = browser(tenant.accounts["group", "administrator"])
    assert "All is well" in client.get("/").content.decode()
    second = CpaasNumberFactory(user=tenant.colleague, platform=number.platform, friendly_name="Acme desk")
    fine = CpaasNumberFactory(user=tenant.colleague, platform=number.platform, friendly_name="Acme quiet")
    for each in (number, second):
        texts(each, clock.now(), undelivered=1)
    texts(fine, clock.now() - timedelta(days=2), failed=1)
    page = client.get("/").content.decode()
    assert "2 numbers with texts not delivered" in page
    listed = client.get("/numbers/?not_delivered=lately")
    assert set(listed.context["cl"].result_list) == {number, second}


def test_the_landing_page_reads_as_much_with_many_texts_as_with_few(tenant: Tenant, number: CpaasNumber) -> None:
    client = browser(tenant.administrator)

    def queries() -> int:
        count_unsettled()
        with CaptureQueriesContext(connection) as captured:
            client.get("/")
        assert not [query for query in captured if "cpaas_message" in query["sql"] and "COUNT" in query["sql"]]
        return len(captured)

    texts(number, clock.now() - timedelta(days=3), received=1)
    few = queries()
    texts(number, clock.now() - timedelta(days=4), received=30)
    assert queries() == few
