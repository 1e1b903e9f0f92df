"""Tasks of IM and XMPP. Each looks at rows that are due and calls a service; losing or doubling one is harmless."""

from __future__ import annotations

from celery import shared_task

from xmpp.services import account_work, auto_subscribing, connections, retention, sessions


@shared_task(name="xmpp.tasks.work_accounts")
def work_accounts() -> None:
    """Passwords to be generated or restored, device configurations to be updated (S0.18, S0.22)."""
    account_work.work_due_accounts()


@shared_task(name="xmpp.tasks.auto_subscribe")
def auto_subscribe() -> None:
    """Ask for the presence of those whom users came to monitor, or who came to have XMPP (S0.30)."""
    auto_subscribing.subscribe_all()


@shared_task(name="xmpp.tasks.settle_abandoned")
def settle_abandoned() -> None:
    """Tell the users of accounts whose bridges have all gone (S0.13)."""
    sessions.settle_abandoned()


@shared_task(name="xmpp.tasks.purge")
def purge() -> None:
    """The daily retention purge of instant messages (R18)."""
    retention.purge()


@shared_task(name="xmpp.tasks.check_connections")
def check_connections() -> None:
    """See which BroadWorks can be asked."""
    connections.test_every_connection()
