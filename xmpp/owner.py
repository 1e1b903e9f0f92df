"""Who owns sessions: the bridge, as a session sees it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from xmpp.peers import Peer
from xmpp.stanzas import News
from xmpp.states import AccountStatus

if TYPE_CHECKING:
    from xmpp.session import Session


class Owner(Protocol):
    """All but `begin` and `store` return at once."""

    def may_act_for(self, session: Session) -> bool: ...
    def on_status(self, session: Session, status: AccountStatus, reason: str) -> None: ...
    def on_news(self, session: Session, news: News, number: int) -> None:
        """Something was said; the owner calls `session.stored` with this number once it is in the database."""

    def on_acked(self, session: Session, message_id: str) -> None: ...
    def on_peer(self, session: Session, jid: str, peer: Peer) -> None: ...
    def on_subscription(self, session: Session, jid: str, kind: str) -> None: ...
    def on_roster(self, session: Session, items: list[dict[str, str]], *, whole: bool) -> None: ...
    def on_online(self, session: Session, *, fresh: bool) -> None: ...
    async def begin(self, session: Session) -> None:
        """A new session is about to hear how its peers are."""

    async def store(self, session: Session, said: Sequence[News], cursor: str) -> None:
        """Store a page of the archive, and then its end as the account's cursor."""

    def login_place(self, session: Session) -> AbstractAsyncContextManager[Any]:
        """A place among those who log in to the same server at the same time."""

    def ssl_context(self, authority: str) -> ssl.SSLContext: ...
