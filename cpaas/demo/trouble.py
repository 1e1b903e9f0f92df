"""What went wrong in the demo: texts to nobody, a call that cannot be read, and a ticket about a text that failed."""

from __future__ import annotations

import json
from datetime import timedelta

from cpaas.carriers.base import WebhookRequest
from cpaas.carriers.registry import get_carrier
from cpaas.demo.cast import PROVIDERS, demo_id
from cpaas.demo.tenants import Tenants
from cpaas.models import CpaasPlatform, Message, Ticket
from cpaas.services import dead_letters, tickets
from cpaas.services.webhook_intake import take_in
from portal import clock

# (minutes ago, from, to, text); the carrier has these numbers, and nobody has them here.
_TO_NOBODY = (
    (1630, "17185550161", "12019920785", "I would like to move my appointment to next week."),
    (49, "17036089795", "12019920784", "Chris, is this your new number? Call me back please."),
    (47, "17036089795", "12019920784", "Hello?"),
)
_CUT_SHORT = b'{"referenceId": "5f0e6a4c", "from": "17185550161", "to": ["12019920781"], "text": "Tuesday is'
_FAILED = ("+12012010580", "+16465550190")


def load_trouble(tenants: Tenants) -> None:
    """For the first provider. What was loaded before, and replayed or answered since, stays as it is."""
    provider = PROVIDERS[0]
    platform = CpaasPlatform.objects.get(pk=demo_id(provider.platform.place))
    for place, (minutes, sender, recipient, text) in enumerate(_TO_NOBODY):
        call = {"referenceId": f"demo-{place}", "from": sender, "to": [recipient], "text": text}
        request = WebhookRequest({}, json.dumps(call).encode(), "application/json")
        take_in(
            platform_id=platform.pk,
            nonce=f"demo-{place}",
            request=request,
            events=get_carrier(platform.carrier).parse_webhook(platform.account(), request),
            received_at=clock.now() - timedelta(minutes=minutes),
        )
    dead_letters.keep_unreadable(platform_id=platform.pk, request=WebhookRequest({}, _CUT_SHORT, "application/json"))
    _ticket(tenants)


def _ticket(tenants: Tenants) -> None:
    number, remote = _FAILED
    message = Message.objects.filter(number__number=number, remote=remote).select_related("number__group").first()
    if message is None or Ticket.objects.filter(tn=number).exists():
        return
    provider = PROVIDERS[0]
    group = provider.resellers[0].groups[0]
    ticket = tickets.raise_ticket(
        actor=tenants.accounts[group.accounts[0].place],
        number=message.number,
        message=message,
        to="carrier",
        subject="Texts to a client's mobile are rejected",
        text="Mr. Ortega gets texts from everybody but us. What does his network have against our number?",
    )
    tickets.add_note(
        actor=tenants.accounts[provider.accounts[0].place],
        ticket=ticket,
        text="Asked Inteliquent, with the SID. They look into it and answer by Monday.",
    )
