"""Bridges running in threads of the test process, and what tests look at while they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from portal.models import EndUser
from portal.residents.database import close_database_threads
from portal.tests.residents import eventually, hosting
from xmpp.bridge import Bridge
from xmpp.models import ImMessage, ImpAccount
from xmpp.services.routing import route_to_jid
from xmpp.services.sending import send_to
from xmpp.states import AccountStatus


@contextmanager
def bridging(*accounts: ImpAccount, count: int = 1) -> Iterator[None]:
    """So many bridges run, and these accounts are online when it begins."""
    with ExitStack() as stack:
        stack.callback(close_database_threads)
        for _ in range(count):
            stack.enter_context(hosting(Bridge))
        for account in accounts:
            wait_online(account)
        yield


def wait_online(account: ImpAccount) -> None:
    wait_status(account, AccountStatus.ONLINE)


def wait_status(account: ImpAccount, status: AccountStatus) -> None:
    eventually(lambda: status_of(account) == status, f"{account.imp_id} is {status_of(account)}, not {status}")


def status_of(account: ImpAccount) -> str:
    account.refresh_from_db()
    return account.status


def send(user: EndUser, jid: str, text: str) -> ImMessage:
    """A text of the user to somebody who is no user of ours."""
    return send_to(user=user, route=route_to_jid(user, jid), text=text)


def heard(text: str) -> ImMessage:
    """The message with that text, once it is stored."""
    return eventually(lambda: ImMessage.objects.filter(text=text).first(), text[:60])
