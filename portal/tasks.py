"""The portal's own periodic work. Each task only calls a service; it may run twice or late without harm."""

from __future__ import annotations

from portal.celery import app
from portal.services.mail import send_due_mails
from portal.services.tidying import tidy_portal


@app.task(name="portal.tasks.send_mails")
def send_mails() -> None:
    """Send what is due (S1.8, S1.9)."""
    while send_due_mails():
        continue


@app.task(name="portal.tasks.tidy")
def tidy() -> None:
    """Drop events, idempotency keys and tokens that are past their time."""
    tidy_portal()
