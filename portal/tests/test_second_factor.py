"""Two-step login: TOTP (RFC 6238) with recovery codes, for browsers and for the API's tokens."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import hotp

from portal import clock
from portal.admin.site import SETTING_UP, site
from portal.models import AuditEntry, OutgoingMail, PortalAccount, RecoveryCode, SecondFactor
from portal.problems import Problem
from portal.services import second_factor
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.factories import PASSWORD
from portal.tests.tenants import Tenant

pytestmark = pytest.mark.django_db
PAGE = "/my-account/second-factor/"


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests move the machine's clock, and the database's with it."""
    monkeypatch.setattr(clock, "now", timezone.now)


def code_at(factor: SecondFactor, *, steps: int = 0) -> str:
    """The code an authenticator app shows now, or whose clock is so many steps away."""
    step = int(timezone.now().timestamp()) // second_factor.STEP_S + steps
    return f"{hotp(base64.b32decode(factor.secret), step):06d}"


def enrol(account: PortalAccount) -> list[str]:
    """Turn the factor on, as if long ago; returns the recovery codes."""
    factor = second_factor.begin(account=account)
    codes = second_factor.confirm(account=account, present_password=PASSWORD, code=code_at(factor))
    SecondFactor.objects.update(last_step=0)
    return codes


def factor_of(account: PortalAccount) -> SecondFactor:
    return SecondFactor.objects.get(account=account)


def tried(account: PortalAccount, code: str) -> str:
    try:
        second_factor.require_code(account=account, code=code)
    except Problem as problem:
        return problem.code
    return "in"


def wrong_code(factor: SecondFactor) -> str:
    right = {code_at(factor, steps=steps) for steps in range(-2, 3)}
    return next(code for code in ("000000", "111111", "222222", "333333", "444444", "555555") if code not in right)


def after_password(account: PortalAccount, **more: str) -> Client:
    """A browser that gave the right password and has not given a code."""
    client = Client()
    answer = client.post("/login/", {"username": account.username, "password": PASSWORD, **more})
    assert (answer.status_code, answer["Location"]) == (302, "/login/code/")
    return client


# --- Codes ---
@pytest.mark.parametrize(("steps", "outcome"), [(-2, "bad_credentials"), (-1, "in"), (0, "in"), (1, "in")])
def test_a_clock_may_be_half_a_minute_off(tenant: Tenant, time_machine: Any, steps: int, outcome: str) -> None:
    time_machine.move_to("2026-11-25T12:00:15Z", tick=False)
    enrol(tenant.administrator)
    assert tried(tenant.administrator, code_at(factor_of(tenant.administrator), steps=steps)) == outcome


@pytest.mark.core
def test_no_code_counts_twice_nor_does_an_older_one(tenant: Tenant, time_machine: Any) -> None:
    time_machine.move_to("2026-11-25T12:00:15Z", tick=False)
    enrol(tenant.administrator)
    factor = factor_of(tenant.administrator)
    code, older = code_at(factor), code_at(factor, steps=-1)
    assert [tried(tenant.administrator, each) for each in (code, code, older)] == ["in"] + ["bad_credentials"] * 2


def test_the_code_that_turned_it_on_does_not_count_again(tenant: Tenant, time_machine: Any) -> None:
    time_machine.move_to("2026-11-25T12:00:15Z", tick=False)
    factor = second_factor.begin(account=tenant.administrator)
    second_factor.confirm(account=tenant.administrator, present_password=PASSWORD, code=code_at(factor))
    assert tried(tenant.administrator, code_at(factor)) == "bad_credentials"


@pytest.mark.core
def test_wrong_codes_make_the_next_try_wait_longer_each_time_but_never_for_ever(
    tenant: Tenant, time_machine: Any
) -> None:
    account = tenant.administrator
    time_machine.move_to("2026-11-25T12:00:15Z", tick=False)
    recovery = enrol(account)
    factor, waits = factor_of(account), []
    for _ in range(second_factor.FREE_FAILURES - 1):
        assert tried(account, wrong_code(factor)) == "bad_credentials"
    for _ in range(8):
        assert tried(account, wrong_code(factor)) == "bad_credentials"
        waits.append(int((factor_of(account).wait_until - timezone.now()).total_seconds()))
        assert tried(account, code_at(factor)) == "rate_limited"  # the right one waits as well
        time_machine.shift(waits[-1] + 1)
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900]
    tried(account, wrong_code(factor))
    assert tried(account, recovery[0]) == "in"  # who can prove more need not wait
    time_machine.shift(901)
    assert tried(account, code_at(factor)) == "in"
    assert tried(account, wrong_code(factor)) == "bad_credentials"
    assert factor_of(account).wait_until is None


def test_several_wrong_codes_are_told_to_the_account_once(tenant: Tenant) -> None:
    enrol(tenant.administrator)
    OutgoingMail.objects.all().delete()
    factor = factor_of(tenant.administrator)
    for _ in range(second_factor.FREE_FAILURES + 2):
        tried(tenant.administrator, wrong_code(factor))
    assert [mail.to for mail in OutgoingMail.objects.all()] == [tenant.administrator.email]
    assert "somebody who knows your password" in OutgoingMail.objects.get().text


@pytest.mark.core
def test_each_recovery_code_counts_once_and_new_ones_end_the_old(tenant: Tenant) -> None:
    account = tenant.administrator
    codes = enrol(account)
    assert len(set(codes)) == second_factor.RECOVERY_CODES
    assert [tried(account, code) for code in (codes[0], codes[0], codes[1].upper())] == ["in", "bad_credentials", "in"]
    fresh = second_factor.renew_recovery_codes(account=account, present_password=PASSWORD, code=codes[2])
    assert tried(account, codes[3]) == "bad_credentials"
    assert tried(account, fresh[0]) == "in"
    used = AuditEntry.objects.filter(action="use_recovery_code").order_by("id")
    assert [entry.after for entry in used][:2] == [{"codes_left": 9}, {"codes_left": 8}]


def test_the_secret_is_encrypted_and_recovery_codes_are_digests(tenant: Tenant) -> None:
    codes = enrol(tenant.administrator)
    factor = factor_of(tenant.administrator)
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM portal_secondfactor")
        stored = cursor.fetchone()[0]
    assert factor.secret not in stored
    kept = " ".join(RecoveryCode.objects.values_list("digest", flat=True))
    assert not any(code.replace("-", "") in kept for code in codes)


def test_every_change_is_audited_and_told_by_mail(tenant: Tenant) -> None:
    account = tenant.administrator
    codes = enrol(account)
    second_factor.turn_off(account=account, present_password=PASSWORD, code=codes[0])
    actions = ["begin_second_factor", "enable_second_factor", "use_recovery_code", "disable_second_factor"]
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == actions
    assert OutgoingMail.objects.filter(to=account.email).count() == 3
    told = " ".join(OutgoingMail.objects.values_list("text", flat=True))
    assert not any(code in told for code in codes)


# --- Logging in with a browser ---
def test_the_password_alone_reaches_no_page(tenant: Tenant) -> None:
    """Every page of the site, found in its URLs, sends a browser without the second factor to the login."""
    enrol(tenant.administrator)
    client, tries = after_password(tenant.administrator), 0
    for pattern in site_routes():
        url = "/" + re.sub(r"<[^>]+>", str(tenant.user.pk), pattern)
        for answer in (client.get(url), client.post(url, {"form": "begin"})):
            tries += 1
            assert answer.status_code == 302, f"{url}: {answer.status_code}"
            assert answer["Location"].startswith("/login/") or url == "/logout/", url
    assert tries > 100
    assert SecondFactor.objects.count() == 1


def site_routes() -> list[str]:
    """The routes of all pages of the site but the two steps of the login themselves."""

    def walk(patterns: list[Any], start: str = "") -> Any:
        for each in patterns:
            route = start + str(each.pattern)
            yield from walk(each.url_patterns, route) if hasattr(each, "url_patterns") else [route]

    return [route for route in walk(site.get_urls()) if route not in ("login/", "login/code/")]


def test_password_then_code_logs_in_under_a_new_session_and_goes_where_one_wanted(tenant: Tenant) -> None:
    enrol(tenant.administrator)
    client = after_password(tenant.administrator, next="/audit/")
    before = client.session.session_key
    assert client.get("/login/code/").status_code == 200
    answer = client.post("/login/code/", {"code": code_at(factor_of(tenant.administrator))})
    assert (answer.status_code, answer["Location"]) == (302, "/audit/")
    assert client.session.session_key != before
    assert client.get("/audit/").status_code == 200


def test_a_recovery_code_logs_in_too(tenant: Tenant) -> None:
    codes = enrol(tenant.administrator)
    client = after_password(tenant.administrator)
    assert client.post("/login/code/", {"code": codes[0]}).status_code == 302
    assert client.get("/").status_code == 200
    assert after_password(tenant.administrator).post("/login/code/", {"code": codes[0]}).status_code == 200


def test_the_code_step_belongs_to_whose_password_was_right(two_tenants: tuple[Tenant, Tenant]) -> None:
    tenant, stranger = two_tenants
    enrol(tenant.administrator)
    enrol(stranger.administrator)
    client = after_password(tenant.administrator)
    assert stranger.administrator.username not in client.get("/login/code/").content.decode()
    answer = client.post("/login/code/", {"code": code_at(factor_of(stranger.administrator))})
    assert (answer.status_code, client.get("/").status_code) == (200, 302)


def test_without_a_password_there_is_no_code_step(tenant: Tenant) -> None:
    enrol(tenant.administrator)
    answer = Client().post("/login/code/", {"code": code_at(factor_of(tenant.administrator))})
    assert (answer.status_code, answer["Location"]) == (302, "/login/")


def test_a_password_waits_five_minutes_for_its_code_and_not_beyond_its_change(
    tenant: Tenant, time_machine: Any
) -> None:
    time_machine.move_to(timezone.now(), tick=False)
    account = tenant.administrator
    codes = enrol(account)
    client = after_password(account)
    time_machine.shift(301)
    assert client.post("/login/code/", {"code": codes[0]})["Location"] == "/login/"
    client = after_password(account)
    account.refresh_from_db()
    account.set_password("another long passphrase")
    account.save()
    assert client.post("/login/code/", {"code": codes[0]})["Location"] == "/login/"


def test_wrong_codes_of_the_login_are_told_to_wait(tenant: Tenant, settings: Any) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 1000
    enrol(tenant.administrator)
    factor, client = factor_of(tenant.administrator), after_password(tenant.administrator)
    answers = [
        client.post("/login/code/", {"code": wrong_code(factor)}) for _ in range(second_factor.FREE_FAILURES + 1)
    ]
    assert [answer.status_code for answer in answers] == [200] * second_factor.FREE_FAILURES + [429]
    assert int(answers[-1]["Retry-After"]) <= 31


@pytest.mark.usefixtures("within_a_minute")
def test_wrong_codes_count_as_attempts_per_name_and_address_too(tenant: Tenant, settings: Any) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 3
    enrol(tenant.administrator)
    factor, client = factor_of(tenant.administrator), after_password(tenant.administrator)
    for _ in range(3):
        client.post("/login/code/", {"code": wrong_code(factor)})
    answer = Client().post("/login/", {"username": tenant.administrator.username, "password": PASSWORD})
    assert answer.status_code == 429


# --- Setting it up ---
def test_set_up_shows_the_secret_as_picture_and_text_and_the_codes_once(tenant: Tenant) -> None:
    account, client = tenant.administrator, browser(tenant.administrator)
    other = browser(account)
    assert "Set up two-step login" in client.get(PAGE).content.decode()
    client.post(PAGE, {"form": "begin"})
    factor, page = factor_of(account), client.get(PAGE).content.decode()
    assert " ".join(re.findall("....", factor.secret)) in page
    assert "<svg" in page
    assert factor_of(account).confirmed_at is None
    client.post(PAGE, {"form": "confirm", "present_password": "a guess", "code": code_at(factor)})
    assert not second_factor.is_on(account)
    wrong = client.post(PAGE, {"form": "confirm", "present_password": PASSWORD, "code": wrong_code(factor)})
    assert "This code is wrong" in wrong.content.decode()
    shown = client.post(
        PAGE, {"form": "confirm", "present_password": PASSWORD, "code": code_at(factor)}
    ).content.decode()
    codes = re.findall(r"<code>([a-z2-7-]{19})</code>", shown)
    assert len(codes) == second_factor.RECOVERY_CODES
    page = client.get(PAGE).content.decode()
    assert not any(code in page for code in codes)
    assert factor.secret not in page.replace(" ", "")
    assert (client.get("/").status_code, other.get("/").status_code) == (200, 302)  # the other session ended


def test_turning_it_off_needs_password_and_code(tenant: Tenant) -> None:
    account = tenant.administrator
    codes = enrol(account)
    account.refresh_from_db()
    client = browser(account)
    for password, code in (("wrong", codes[0]), (PASSWORD, "123456")):
        client.post(PAGE, {"form": "off", "off-present_password": password, "off-code": code})
        assert second_factor.is_on(account)
    client.post(PAGE, {"form": "off", "off-present_password": PASSWORD, "off-code": codes[0]})
    assert not second_factor.is_on(account)
    assert client.get("/").status_code == 200


def test_new_recovery_codes_on_the_page(tenant: Tenant) -> None:
    codes = enrol(tenant.administrator)
    tenant.administrator.refresh_from_db()
    client = browser(tenant.administrator)
    page = client.post(
        PAGE, {"form": "renew", "renew-present_password": PASSWORD, "renew-code": codes[0]}
    ).content.decode()
    assert len(re.findall(r"<code>([a-z2-7-]{19})</code>", page)) == second_factor.RECOVERY_CODES


def test_a_begun_set_up_can_be_dropped_and_a_second_is_not_begun_beside_one_that_is_on(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    client.post(PAGE, {"form": "begin"})
    client.post(PAGE, {"form": "cancel"})
    assert not SecondFactor.objects.exists()
    enrol(tenant.administrator)
    with pytest.raises(Problem, match="Two-step login is on"):
        second_factor.begin(account=tenant.administrator)


# --- Where everybody needs one ---
def test_where_it_is_required_there_is_no_other_page_before_it_is_set_up(tenant: Tenant, settings: Any) -> None:
    settings.REQUIRE_2FA = True
    client, sent = browser(tenant.administrator), 0
    open_to_all = {str(reverse(f"admin:{name}")) for name in SETTING_UP}
    for pattern in site_routes():
        url = "/" + re.sub(r"<[^>]+>", str(tenant.user.pk), pattern)
        if url not in open_to_all:
            sent += 1
            answer = client.get(url)
            assert (answer.status_code, answer["Location"]) == (302, PAGE), url
    assert sent > 50
    client.post(PAGE, {"form": "begin"})
    code = code_at(factor_of(tenant.administrator))
    client.post(PAGE, {"form": "confirm", "present_password": PASSWORD, "code": code})
    assert client.get("/").status_code == 200
    with pytest.raises(Problem, match="cannot be turned off here"):
        second_factor.turn_off(account=tenant.administrator, present_password=PASSWORD, code="000000")


# --- The API ---
def ask_for_token(api: Callable[..., Any], account: PortalAccount, **more: str) -> Any:
    body = {"username": account.username, "password": PASSWORD, "name": "script", **more}
    return api(None).post("/api/v1/provisioning/tokens/", body)


def test_a_token_needs_the_code_too(api: Callable[..., Any], tenant: Tenant) -> None:
    account = tenant.administrator
    assert ask_for_token(api, account, otp="ignored").status_code == 201
    codes = enrol(account)
    answers = [
        ask_for_token(api, account),
        ask_for_token(api, account, otp=wrong_code(factor_of(account))),
        ask_for_token(api, account, password="wrong"),
        ask_for_token(api, account, password="wrong", otp=codes[0]),
    ]
    told = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert told == [(401, "otp_required"), *[(401, "bad_credentials")] * 3]
    assert ask_for_token(api, account, otp=code_at(factor_of(account))).status_code == 201
    assert ask_for_token(api, account, otp=codes[0]).status_code == 201


def test_where_it_is_required_no_token_is_given_without(api: Callable[..., Any], tenant: Tenant, settings: Any) -> None:
    settings.REQUIRE_2FA = True
    answer = ask_for_token(api, tenant.administrator)
    assert (answer.status_code, answer.json()["code"]) == (401, "otp_required")


def test_wrong_codes_of_the_api_are_answered_429_with_retry_after(api: Callable[..., Any], tenant: Tenant) -> None:
    enrol(tenant.administrator)
    wrong = wrong_code(factor_of(tenant.administrator))
    answers = [ask_for_token(api, tenant.administrator, otp=wrong) for _ in range(second_factor.FREE_FAILURES + 1)]
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "rate_limited")
    assert int(answers[-1]["Retry-After"]) > 0


# --- Reset by somebody above ---
def test_an_administrator_resets_the_factor_of_an_account_below(api: Callable[..., Any], tenant: Tenant) -> None:
    account = tenant.accounts["group", "administrator"]
    enrol(account)
    account.refresh_from_db()
    session = browser(account)
    OutgoingMail.objects.all().delete()
    client = browser(tenant.administrator)
    assert "Reset two-step login" in client.get(url_of(account, "change")).content.decode()
    assert client.get(url_of(account, "reset_second_factor_confirm")).status_code == 200
    client.post(url_of(account, "reset_second_factor"))
    assert not second_factor.is_on(account)
    assert session.get("/").status_code == 302
    entry = AuditEntry.objects.get(action="reset_second_factor")
    assert (entry.actor_id, entry.object_id) == (tenant.administrator.pk, account.pk)
    assert OutgoingMail.objects.get().to == account.email
    assert "Reset two-step login" not in client.get(url_of(account, "change")).content.decode()
    enrol(account)
    path = f"/api/v1/provisioning/portal-accounts/{account.pk}/"
    assert api(tenant.token).get(path).json()["second_factor"] is True
    assert api(tenant.token).post(f"{path}reset-second-factor/", {}).json()["second_factor"] is False


def test_strangers_lower_levels_readers_and_oneself_reset_nothing(
    api: Callable[..., Any], two_tenants: tuple[Tenant, Tenant]
) -> None:
    tenant, stranger = two_tenants
    account = tenant.administrator
    enrol(account)
    path = f"/api/v1/provisioning/portal-accounts/{account.pk}/reset-second-factor/"
    knocks = [
        (stranger.administrator, 404),
        (tenant.accounts["group", "administrator"], 404),
        (tenant.accounts["system_provider", "read_only"], 403),
        (account, 409),
    ]
    for who, status in knocks:
        assert api(who).post(path, {}).status_code == status
        browser(PortalAccount.objects.get(pk=who.pk)).post(url_of(account, "reset_second_factor"))
    assert second_factor.is_on(account)


def test_a_stranger_learns_nothing_of_a_factor(api: Callable[..., Any], two_tenants: tuple[Tenant, Tenant]) -> None:
    tenant, stranger = two_tenants
    enrol(tenant.administrator)
    page = browser(stranger.administrator).get(PAGE).content.decode()
    assert "Two-step login is off." in page
    assert tenant.administrator.username not in page
    assert (
        browser(stranger.administrator).get(url_of(tenant.administrator, "reset_second_factor_confirm")).status_code
        == 404
    )
    assert (
        tenant.administrator.username
        not in browser(stranger.administrator).get(list_of(PortalAccount)).content.decode()
    )
