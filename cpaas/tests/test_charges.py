"""The monthly charges are right whatever happened to a number within the month (S4.6)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cpaas.models import CpaasNumber, NumberAssignment
from cpaas.services import charges
from cpaas.services.numbers import delete_number, draft_number, insert_number
from cpaas.services.transferring import transfer_number
from cpaas.tests.factories import CpaasPlatformFactory, MediaStreamFactory
from portal.models import EndUser
from portal.services.users import update_user
from portal.tests.admin_walk import browser
from portal.tests.factories import staff_token
from portal.tests.tenants import Tenant

pytestmark = pytest.mark.django_db
TN = "+12019920760"
URL = "/api/v1/provisioning/charges/"


@pytest.fixture
def platform(tenant: Tenant) -> Any:
    return CpaasPlatformFactory(system_provider=tenant.system_provider)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`at("2026-03-05 10:00")` sets the database's clock, in UTC."""

    def turn(text: str) -> None:
        time = datetime.fromisoformat(text).replace(tzinfo=UTC)
        monkeypatch.setattr("portal.clock.now", lambda: time)

    return turn


def add(owner: Any, number: str = TN) -> CpaasNumber:
    name = "user" if isinstance(owner, EndUser) else "media_stream"
    return insert_number(None, draft_number(number=number, **{name: owner}))


def lines(tenant: Tenant, month: str = "2026-03") -> list[tuple[Any, ...]]:
    bill = charges.bill(tenant.administrator, charges.month_of(month))
    return [(line.name, line.licence, line.first.day, line.last.day, line.days) for line in bill]


def test_s4_6_added_transferred_deleted_and_added_again(tenant: Tenant, platform: Any, at: Any) -> None:
    at("2026-03-05 10:00")
    number = add(tenant.user)
    at("2026-03-10 10:00")
    transfer_number(actor=None, number=number, user=tenant.colleague)
    at("2026-03-12 10:00")
    delete_number(actor=None, number=CpaasNumber.objects.get())
    CpaasNumber.objects.all().delete()
    at("2026-03-20 10:00")
    add(tenant.user)
    at("2026-04-02 10:00")
    assert lines(tenant) == [
        ("Acme user", "desktop", 5, 10, 6),
        ("Acme colleague", "desktop", 10, 12, 3),
        ("Acme user", "desktop", 20, 31, 12),
    ]
    totals = charges.total(charges.bill(tenant.administrator, charges.month_of("2026-03")))
    # The tenth is a day of the number once: 5 to 12 and 20 to 31.
    assert (totals.numbers, totals.days, dict(totals.licences)) == (1, 20, {"desktop": 1})
    assert lines(tenant, "2026-04") == [("Acme user", "desktop", 1, 2, 2)]
    assert lines(tenant, "2026-02") == lines(tenant, "2026-05") == []


def test_s4_7_another_licence_begins_another_line(tenant: Tenant, platform: Any, at: Any) -> None:
    at("2026-03-01 10:00")
    add(tenant.user)
    at("2026-03-11 10:00")
    update_user(actor=None, user=tenant.user, changes={"licence": "agent"})
    update_user(actor=None, user=tenant.user, changes={"name": "Acme renamed"})
    at("2026-03-31 10:00")
    assert lines(tenant) == [("Acme user", "desktop", 1, 11, 11), ("Acme user", "agent", 11, 31, 21)]


def test_days_are_those_of_the_system_provider(tenant: Tenant, platform: Any, at: Any) -> None:
    tenant.system_provider.time_zone = "America/New_York"
    tenant.system_provider.save()
    at("2026-04-01 02:00")  # still March in New York
    number = add(tenant.user)
    at("2026-04-01 04:00")  # midnight in New York: nothing of April
    delete_number(actor=None, number=number)
    assert lines(tenant) == [("Acme user", "desktop", 31, 31, 1)]
    assert lines(tenant, "2026-04") == []


def test_the_present_month_is_that_of_the_system_provider(api: Any, tenant: Tenant, operator: Any, at: Any) -> None:
    tenant.system_provider.time_zone = "America/New_York"
    tenant.system_provider.save()
    at("2026-04-01 02:00")  # still March in New York
    for token, query in ((tenant.token, {}), (staff_token(operator), {"system_provider": tenant.system_provider.pk})):
        assert api(token).get(URL, query).json()["month"] == "2026-03"
    assert api(staff_token(operator)).get(URL).json()["month"] == "2026-04"


def test_a_media_stream_carries_no_charge(tenant: Tenant, platform: Any, at: Any) -> None:
    at("2026-03-01 10:00")
    number = add(MediaStreamFactory(group=tenant.group))
    at("2026-03-03 10:00")
    transfer_number(actor=None, number=number, user=tenant.user)
    at("2026-03-04 10:00")
    transfer_number(actor=None, number=CpaasNumber.objects.get(), media_stream=number.media_stream)
    at("2026-03-09 10:00")
    assert lines(tenant) == [("Acme user", "desktop", 3, 4, 2)]


def test_the_history_is_never_changed_nor_deleted(tenant: Tenant, platform: Any) -> None:
    add(tenant.user)
    row = NumberAssignment.objects.get()
    with pytest.raises(TypeError):
        row.save()
    with pytest.raises(TypeError):
        row.delete()


def test_rest_pages_and_sums_up(api: Any, tenant: Tenant, platform: Any, at: Any) -> None:
    at("2026-03-30 10:00")
    for n in range(3):
        add(tenant.user, f"+1201992076{n}")
    first = api(tenant.token).get(URL, {"month": "2026-03", "limit": 2}).json()
    assert [row["number"] for row in first["results"]] == ["+12019920760", "+12019920761"]
    row = first["results"][0]
    assert (row["user"], row["licence"], row["from"], row["to"], row["days"], row["carrier"], row["running"]) == (
        str(tenant.user.pk),
        "desktop",
        "2026-03-30",
        "2026-03-30",
        1,
        "inteliquent",
        True,
    )
    assert first["totals"] == {"numbers": 3, "days": 3, "licences": {"desktop": 3}, "carriers": {"inteliquent": 3}}
    rest = api(tenant.token).get(URL, {"month": "2026-03", "limit": 2, "cursor": first["next"]}).json()
    assert ([row["number"] for row in rest["results"]], rest["next"]) == (["+12019920762"], None)
    assert rest["totals"] == first["totals"]


def test_rest_gives_csv_that_no_spreadsheet_calculates(api: Any, tenant: Tenant, platform: Any) -> None:
    tenant.user.name = '=HYPERLINK("x"), "Acme"'
    tenant.user.save()
    add(tenant.user)
    answer = api(tenant.token).get(URL, headers={"accept": "text/csv"})
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    [row] = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))
    assert (row["number"], row["days"], row["name"]) == (TN, "1", '\'=HYPERLINK("x"), "Acme"')


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-1", "1926-01", "٢٠٢٦-01", "x" * 8])
def test_what_is_no_month(api: Any, tenant: Tenant, month: str) -> None:
    answer = api(tenant.token).get(URL, {"month": month})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["month"])


def test_each_level_sees_its_own_and_strangers_nothing(api: Any, two_tenants: Any) -> None:
    acme, zenith = two_tenants
    for tenant, tn in ((acme, TN), (zenith, "+12019920761")):
        CpaasPlatformFactory(system_provider=tenant.system_provider)
        add(tenant.user, tn)
    for level in ("system_provider", "reseller", "group"):
        shown = api(acme.staff_tokens[level, "read_only"]).get(URL).json()
        assert [row["number"] for row in shown["results"]] == [TN]
    stranger = {"system_provider": str(zenith.system_provider.pk)}
    assert api(acme.token).get(URL, stranger).json()["results"] == []


def test_the_page_has_month_totals_and_file(tenant: Tenant, platform: Any, operator: Any) -> None:
    add(tenant.user)
    for account in (tenant.administrator, operator):
        shown = browser(account).get("/charges/").content.decode()
        for words in ("Monthly charges", "2019920760", "Acme user", "Desktop", "Download CSV", "still assigned"):
            assert words in shown
    assert "All system providers" in shown
    file = browser(tenant.administrator).get("/charges/csv/")
    assert TN in b"".join(file.streaming_content).decode()
    before = browser(tenant.administrator).get("/charges/?month=2020-01").content.decode()
    assert "No user had a number in January 2020" in before
