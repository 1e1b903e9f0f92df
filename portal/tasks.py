"""The portal's own periodic work. Each task only calls a service; it may run twice or late without harm."""

from __future__ import annotations

from portal.celery import app
from portal.directory.services.asking import look_up_due
from portal.services.mail import send_due_mails
from portal.services.tidying import tidy_portal


@app.task(name="portal.tasks.send_mails")
def send_mails() -> None:
    """Send what is due (S1.8, S1.9)."""
    while send_due_mails():
        continue


@app.task(name="portal.tasks.ask_directories")
def ask_directories() -> None:
    """Ask LDAP and SQL servers for the numbers that somebody saw (S1.35)."""
    while look_up_due():
        continue


@app.task(name="portal.tasks.tidy")
def tidy() -> None:
    """Drop events, idempotency keys and tokens that are past their time."""
    tidy_portal()
