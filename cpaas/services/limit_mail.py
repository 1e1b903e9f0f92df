"""The alert mail when texts were refused because of a limit, once a day per number (R39)."""

from __future__ import annotations

import uuid
import zoneinfo

from django.db import transaction

from cpaas.models import CpaasNumber
from portal import clock
from portal.services.accounts import alert_accounts, branch_alert_accounts
from portal.services.mail import queue_mail
from portal.sql import execute

# Whoever moves the day on writes the mails.
_FIRST_TODAY = """
    INSERT INTO cpaas_segmentusage AS u (owner_id, day, segments, arrival_at, alerted_on)
    VALUES (%(id)s, %(day)s, 0, %(now)s, %(day)s)
    ON CONFLICT (owner_id) DO UPDATE SET alerted_on = excluded.alerted_on
    WHERE u.alerted_on IS NULL OR u.alerted_on < excluded.alerted_on
    RETURNING owner_id
"""
_TEXT = """\
{sentence}

CPaaS number:   {number}
Friendly name:  {friendly_name}
Assigned to:    {owner}
Group:          {group}
Platform:       {platform}
Time:           {time}

A client that runs away or a stolen token may be behind it. If the texts are wanted, change the limits in the options
of the platform; if not, change the user's password, which ends all tokens. There is no further mail about this number
today.
"""


def alert_once(number_id: uuid.UUID, sentence: str) -> int:
    """Mail the tenant's alert accounts what was refused, the first time today; returns how many mails were queued."""
    with transaction.atomic():
        number = (
            CpaasNumber.objects.select_related("platform__system_provider", "user", "media_stream", "group")
            .filter(pk=number_id)
            .first()
        )
        if number is None:
            return 0
        now = clock.now()
        provider = number.platform.system_provider
        today = now.astimezone(zoneinfo.ZoneInfo(provider.time_zone)).date()
        if not execute(_FIRST_TODAY, {"id": number.pk, "day": today, "now": now}):
            return 0
        recipients = alert_accounts(provider.pk) + branch_alert_accounts(number.reseller_id, number.group_id)
        for account in recipients:
            zone = account.time_zone or provider.time_zone
            text = _TEXT.format(
                sentence=sentence,
                number=number.national,
                friendly_name=number.friendly_name or number.national,
                owner=f"{number.user.name} ({number.user.login})" if number.user else number.media_stream,
                group=number.group.name,
                platform=number.platform.name,
                time=now.astimezone(zoneinfo.ZoneInfo(zone)).strftime(f"%d/%m/%Y %H:%M:%S %Z ({zone})"),
            )
            queue_mail(to=account.email, subject=f"Text messages refused: {number.national}", text=text)
    return len(recipients)
