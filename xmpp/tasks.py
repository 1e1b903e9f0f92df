"""Tasks of IM and XMPP. Each looks at rows that are due and calls a service; losing or doubling one is harmless."""

from __future__ import annotations

from celery import shared_task

from xmpp.services import account_work


@shared_task(name="xmpp.tasks.work_accounts")
def work_accounts() -> None:
    """Passwords to be generated or restored, device configurations to be updated (S0.18, S0.22)."""
    account_work.work_due_accounts()
