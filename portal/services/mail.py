"""Mail: queued as a row in the transaction of what it tells, sent later and again until the server took it."""

from __future__ import annotations

import smtplib
from datetime import timedelta

from django.core.mail import EmailMessage
from django.db import models

from portal import clock
from portal.background import few_at_once, run_soon
from portal.logs import get_logger
from portal.models import OutgoingMail

logger = get_logger(__name__)
_CLAIM = timedelta(minutes=2)
_GIVE_UP_AFTER = 30
_AT_ONCE = 100


def queue_mail(*, to: str, subject: str, text: str) -> OutgoingMail:
    """Queue one mail. Must run inside the transaction of what it tells about."""
    mail = OutgoingMail.objects.create(
        to=to, subject=" ".join(subject.split())[:200], text=text, created_at=clock.now(), next_at=clock.now()
    )
    run_soon("portal.tasks.send_mails")
    return mail


@few_at_once(2)
def send_due_mails() -> int:
    """Send what is due; returns how many went out. Safe to run in any number of workers at once.

    A mail whose sender dies after the server took it goes out again: a doubled alert is better than a lost one.
    """
    sent = 0
    for mail_id in list(_due().values_list("pk", flat=True)[:_AT_ONCE]):
        claimed = _due().filter(pk=mail_id).update(next_at=clock.now() + _CLAIM)
        if claimed:
            sent += _send(OutgoingMail.objects.get(pk=mail_id))
    return sent


def _due() -> models.QuerySet[OutgoingMail]:
    return OutgoingMail.objects.filter(state="queued", next_at__lte=clock.now()).order_by("next_at")


def _send(mail: OutgoingMail) -> int:
    try:
        EmailMessage(mail.subject, mail.text, to=[mail.to]).send()
    except (OSError, smtplib.SMTPException) as error:
        _retry_later(mail, error)
        return 0
    mail.state, mail.sent_at = "sent", clock.now()
    mail.save(update_fields=["state", "sent_at"])
    return 1


def _retry_later(mail: OutgoingMail, error: Exception) -> None:
    """Back off 5 s doubling to 10 min; after 30 tries the mail is failed and stays for staff to see."""
    mail.tries += 1
    mail.last_error = f"{type(error).__name__}: {error}"[:200]
    mail.state = "failed" if mail.tries >= _GIVE_UP_AFTER else "queued"
    mail.next_at = clock.now() + timedelta(seconds=min(5 * 2 ** (mail.tries - 1), 600))
    mail.save(update_fields=["tries", "last_error", "state", "next_at"])
    logger.warning("mail_not_sent", mail=str(mail.pk), tries=mail.tries, error=type(error).__name__)
