"""The alert mail when a user declines or postpones text messaging (S1.8, S1.9, S4.14, R3, R10)."""

from __future__ import annotations

import zoneinfo

from cpaas.models import CpaasNumber
from portal import clock
from portal.models import EndUser
from portal.services.accounts import alert_accounts, branch_alert_accounts
from portal.services.mail import queue_mail

_TEXT = """\
{name} has {answer} text messaging for a CPaaS number.

CPaaS number:   {number}
Friendly name:  {friendly_name}
Assigned to:    {name} ({login})
Group:          {group}
Answer:         {answer}
Time:           {time}

{meaning}
"""
_MEANING = {
    "declined": "The number cannot be used for text messaging. The user is not asked again until the opt-in state is "
    "reset on the number's page in the portal.",
    "postponed": "The number cannot be used for text messaging yet. The user is asked again at the next client start.",
}


def queue_alert_mails(number: CpaasNumber, user: EndUser, state: str) -> int:
    """Queue one mail to each alert account of the tenant, inside the caller's transaction; returns how many."""
    provider = number.platform.system_provider
    recipients = alert_accounts(number.system_provider_id) + branch_alert_accounts(number.reseller_id, number.group_id)
    now = clock.now()
    for account in recipients:
        zone = account.time_zone or provider.time_zone
        text = _TEXT.format(
            name=user.name,
            login=user.login,
            answer=state,
            number=number.national,
            friendly_name=number.friendly_name or number.national,
            group=user.group.name,
            time=now.astimezone(zoneinfo.ZoneInfo(zone)).strftime(f"%d/%m/%Y %H:%M:%S %Z ({zone})"),
            meaning=_MEANING[state],
        )
        queue_mail(to=account.email, subject=f"Text messaging {state}: {number.national}", text=text)
    return len(recipients)
