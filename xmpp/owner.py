"""Who owns sessions, the bridge, as a session sees it; and what a session is given to begin with."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from xmpp.peers import Peer
from xmpp.stanzas import ChatState, News
from xmpp.states import AccountStatus

if TYPE_CHECKING:
    from xmpp.session import Session


@dataclass(frozen=True)
class Account:
    """What a session needs to know. `host` "" means: as the domain's SRV records say; `password` None: it cannot be
    decrypted. `cursor`, `begins` and `since` are those of its Archive; `version` is the account's and its server's."""

    id: uuid.UUID
    jid: str
    password: str | None = field(repr=False)
    host: str
    port: int
    authority: str = field(repr=False)
    cursor: str
    begins: datetime | None
    since: datetime
    slot: int
    version: tuple[int, int]

    @property
    def domain(self) -> str:
        return self.jid.partition("@")[2]

    @property
    def resource(self) -> str:
        """The same at every worker, so that the server ends an old session of ours when a new one comes."""
        return f"portal-{self.id.hex[-8:]}"


class Owner(Protocol):
    """All but `begin` and `store` return at once."""

    def may_act_for(self, session: Session) -> bool: ...
    def on_status(self, session: Session, status: AccountStatus, reason: str) -> None: ...
    def on_news(self, session: Session, news: News, number: int) -> None:
        """Something was said; the owner calls `session.stored` with this number once it is in the database."""

    def on_chat_state(self, session: Session, heard: ChatState) -> None: ...
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
