"""Tickets: raised with the message's story attached, mailed to those who get alerts, with notes (S1.59, S1.60)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction

from cpaas.models import CpaasNumber, Message, Ticket, TicketNote
from cpaas.services.story import Story, stories
from portal.clock import iso
from portal.models import Level, PortalAccount
from portal.problems import invalid
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.accounts import alert_accounts
from portal.services.mail import queue_mail

_TEXT = """{by} raised a ticket with the {to}.

Subject:       {subject}
CPaaS number:  {tn}
Other party:   {remote}
SID:           {sid}
Group:         {group}

{text}

What happened:
{story}

{url}
"""


def raise_ticket(
    *, actor: Actor, number: CpaasNumber, message: Message | None, to: str, subject: str, text: str
) -> Ticket:
    """A new ticket on a number or one of its messages, which the caller found through `visible_to`.

    The story of the message is attached as it is now, without what the message says (R18). Mails go to the alert
    accounts of the operator and of the system provider. Raises Problem `read_only`, `invalid`.
    """
    require_writer(actor)
    if message is not None and message.number_id != number.pk:
        raise invalid(message="This message is of another number.")
    for name, value in (("subject", subject), ("text", text)):
        if not value.strip():
            raise invalid(**{name: "Write what is wrong."})
    story = stories([message], in_full=True)[0] if message is not None else None
    with transaction.atomic():
        ticket = Ticket.objects.create(
            number_id=number.pk,
            tn=number.number,
            remote=message.remote if message is not None else "",
            message_id=message.pk if message is not None else None,
            subject=" ".join(subject.split()),
            text=text,
            to=to,
            sid=story.sid if story else "",
            story=story_lines(story) if story else [],
            raised_by=audit.actor_of(actor)["actor_name"],
            system_provider_id=number.system_provider_id,
            reseller_id=number.reseller_id,
            group_id=number.group_id,
        )
        audit.record(actor, "raise_ticket", ticket, after={"number": ticket.tn, "to": to, "sid": ticket.sid})
        _queue_mails(ticket, number)
    return ticket


def update_ticket(*, actor: Actor, ticket: Ticket, state: str) -> Ticket:
    """Move a ticket to open, answered or closed; any of them, since what was closed can come up again."""
    require_writer(actor)
    with transaction.atomic():
        row = Ticket.objects.select_for_update().get(pk=ticket.pk)
        if row.state != state:
            before, row.state = row.state, state
            row.save(update_fields=["state"])
            audit.record(actor, "update", row, before={"state": before}, after={"state": state})
    return row


def add_note(*, actor: Actor, ticket: Ticket, text: str) -> TicketNote:
    """Add a note to a ticket. Raises Problem `read_only`, `invalid`."""
    require_writer(actor)
    if not text.strip():
        raise invalid(text="Write a note first.")
    with transaction.atomic():
        note = TicketNote.objects.create(ticket=ticket, by=audit.actor_of(actor)["actor_name"], text=text)
        audit.record(actor, "add_note", ticket)
    return note


def story_lines(story: Story) -> list[str]:
    """The steps of a story, a line each, without the carrier's answers: they may quote the text (R18)."""
    details = [f": {step.detail}" if step.detail and not step.is_quoted else "" for step in story.steps]
    return [f"{iso(step.at)}  {step.title}{detail}" for step, detail in zip(story.steps, details, strict=True)]


def _queue_mails(ticket: Ticket, number: CpaasNumber) -> None:
    operators = PortalAccount.objects.filter(level=Level.OPERATOR, send_alerts=True, is_active=True)
    values: dict[str, Any] = {
        "by": ticket.raised_by,
        "to": ticket.get_to_display().lower(),
        "subject": ticket.subject,
        "tn": ticket.tn,
        "remote": ticket.remote or "—",
        "sid": ticket.sid or "—",
        "group": number.group.name,
        "text": ticket.text,
        "story": "\n".join(ticket.story) or "—",
        "url": f"{settings.PUBLIC_URL}/tickets/{ticket.pk}/",
    }
    for account in [*operators.order_by("id"), *alert_accounts(ticket.system_provider_id)]:
        queue_mail(to=account.email, subject=f"Ticket: {ticket.subject}", text=_TEXT.format(**values))
