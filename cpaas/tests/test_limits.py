"""Spending limits in segments, their answers and their alert mails (R39)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cpaas.models import Conversation, CpaasNumber, Message, SegmentUsage
from cpaas.services.sending import resend_message, send_message
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory, MessageFactory
from portal import clock
from portal.models import OutgoingMail
from portal.problems import Problem
from portal.tests.factories import EndUserFactory, PortalAccountFactory, device_token

REMOTE = "+17036089795"
BASE = "/api/v1/"
LONG = "a" * 161  # two segments
pytestmark = [pytest.mark.django_db, pytest.mark.core]


def limited_number(zone: str = "UTC", **options: Any) -> CpaasNumber:
    user = EndUserFactory(group__reseller__system_provider__time_zone=zone)
    platform = CpaasPlatformFactory(system_provider=user.system_provider, options=options)
    return CpaasNumberFactory(user=user, platform=platform)


def send(number: CpaasNumber, text: str = "Hello", to: str = REMOTE) -> Message:
    return send_message(user=number.user, number=number, to=to, text=text)


def refusal(number: CpaasNumber, text: str = "Hello") -> Problem:
    with pytest.raises(Problem) as caught:
        send(number, text)
    assert (caught.value.code, caught.value.status) == ("rate_limited", 429)
    return caught.value


def at(monkeypatch: Any, now: datetime) -> None:
    monkeypatch.setattr(clock, "now", lambda: now)


def test_r39_a_days_segments_are_counted_and_the_next_text_is_refused() -> None:
    number = limited_number(per_number_per_day=5)
    send(number, LONG)
    send(number, LONG)
    assert "4 of 5 segments" in refusal(number, LONG).detail
    send(number)
    refusal(number)
    assert Message.objects.count() == 3
    assert SegmentUsage.objects.get().segments == 5
    assert send(CpaasNumberFactory(user=number.user, platform=number.platform)).status == "queued"


@pytest.mark.parametrize(
    ("zone", "now", "seconds"),
    [
        ("UTC", "2026-11-26T23:59:30", 30),
        ("America/New_York", "2026-11-27T04:00:00", 3600),
        ("America/New_York", "2026-11-26T23:59:30", 5 * 3600 + 30),
        # The night in which the clocks go back has 25 hours.
        ("Europe/Berlin", "2026-10-24T22:30:00", 24 * 3600 + 1800),
    ],
)
def test_r39_the_day_ends_at_midnight_of_the_tenants_zone(monkeypatch, zone, now, seconds) -> None:
    number = limited_number(zone, per_number_per_day=1)
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    at(monkeypatch, moment)
    send(number)
    assert refusal(number).retry_after_s == seconds
    at(monkeypatch, moment + timedelta(seconds=seconds - 1))
    refusal(number)
    at(monkeypatch, moment + timedelta(seconds=seconds))
    send(number)


def test_r39_retry_after_is_when_the_minute_has_room_again(monkeypatch) -> None:
    number = limited_number(per_number_per_minute=3)
    start = datetime(2026, 11, 26, 12, tzinfo=UTC)
    at(monkeypatch, start)
    for _ in range(3):
        send(number)
    wait = refusal(number).retry_after_s
    assert wait == 20
    at(monkeypatch, start + timedelta(seconds=19))
    assert refusal(number).retry_after_s == 1
    at(monkeypatch, start + timedelta(seconds=20))
    send(number)
    refusal(number)


def test_r39_a_text_longer_than_a_minutes_worth_can_be_sent_all_the_same(monkeypatch) -> None:
    number = limited_number(per_number_per_minute=1)
    start = datetime(2026, 11, 26, 12, tzinfo=UTC)
    at(monkeypatch, start)
    send(number, LONG)
    assert refusal(number).retry_after_s == 120


def test_r39_a_resend_counts_as_what_it_costs() -> None:
    number = limited_number(per_number_per_day=3)
    conversation = Conversation.objects.create(number=number, user=number.user, remote=REMOTE)
    message = MessageFactory(conversation=conversation, status="failed", segments=3)
    resend_message(user=number.user, message=message)
    Message.objects.update(status="failed")
    with pytest.raises(Problem) as caught:
        resend_message(user=number.user, message=message)
    assert caught.value.code == "rate_limited"


def test_r39_a_platforms_day_is_shared_by_its_numbers_and_nobody_elses() -> None:
    number = limited_number(per_platform_per_day=3)
    second = CpaasNumberFactory(user=number.user, platform=number.platform)
    send(number, LONG)
    send(second)
    assert "account at the carrier" in refusal(second).detail
    assert send(limited_number()).status == "queued"


def test_r39_what_is_refused_is_not_counted() -> None:
    number = limited_number(per_number_per_day=2, per_platform_per_day=1)
    send(number)
    for _ in range(3):
        refusal(number)
    assert set(SegmentUsage.objects.values_list("segments", flat=True)) == {1}


@pytest.mark.parametrize(
    ("options", "body", "code"),
    [
        ({"per_number_per_day": 1}, {"to": REMOTE, "text": "Hello"}, "rate_limited"),
        ({"per_number_per_minute": 1}, {"to": REMOTE, "text": "Hello"}, "rate_limited"),
        ({}, {"to": "+442079460123", "text": "Hello"}, "destination_not_allowed"),
    ],
    ids=["day", "minute", "country"],
)
@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "one"}], ids=["plain", "with a key"])
def test_r39_one_alert_mail_a_day_per_number(api, monkeypatch, options, body, code, key) -> None:
    """It is there although what was refused is rolled back, with its key too."""
    number = limited_number(**options)
    alerted = PortalAccountFactory(scope=number.system_provider, send_alerts=True)
    PortalAccountFactory(scope=number.system_provider)
    client = api(device_token(number.user))
    send(number)
    for _ in range(3):
        answer = client.post(f"{BASE}messages/", body, headers=key)
        assert answer.json()["code"] == code
    if code == "rate_limited":
        assert 0 < int(answer["Retry-After"]) <= 86_400
    mail = OutgoingMail.objects.get()
    assert mail.to == alerted.email
    assert number.national in mail.subject
    assert all(word in mail.text for word in (number.user.name, number.user.login, number.group.name, "refused"))
    send(CpaasNumberFactory(user=number.user, platform=number.platform))
    tomorrow = clock.now() + timedelta(days=1)
    at(monkeypatch, tomorrow)
    for _ in range(2):
        client.post(f"{BASE}messages/", {"from": number.number, **body})
        client.post(f"{BASE}messages/", {"from": number.number, **body})
    assert OutgoingMail.objects.count() == 2
