"""What a session asks of its own account at the server, and the answers (RFC 6120 §8.2.3)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from xml.etree.ElementTree import Element

from slixmpp.jid import JID

from xmpp.building import build_request
from xmpp.stanzas import read_condition

ANSWER_S = 30


class RequestFailed(Exception):
    """No answer, or none that helps; `condition` is one of RFC 6120 §8.3.3."""

    def __init__(self, condition: str) -> None:
        super().__init__(condition)
        self.condition = condition


class RequestRefused(RequestFailed):
    """The server answered that it cannot, or does not want to."""


class Requests:
    """`tell` writes a stanza, and returns whether there is somebody to write to."""

    def __init__(self, tell: Callable[[str], bool]) -> None:
        self._tell = tell
        self._waiting: dict[str, asyncio.Future[Element]] = {}

    async def ask(self, kind: str, payload: str) -> Element:
        """The `<iq/>` that answers a `get` or `set`. Raises RequestFailed."""
        key = str(uuid.uuid4())
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            if not self._tell(build_request(id=key, kind=kind, payload=payload)):
                raise RequestFailed("remote-server-timeout")
            async with asyncio.timeout(ANSWER_S):
                found: Element = await answer
        except TimeoutError as error:
            raise RequestFailed("remote-server-timeout") from error
        finally:
            del self._waiting[key]
        if found.get("type") == "error":
            raise RequestRefused(read_condition(found))
        return found

    def take(self, iq: Element, own: JID) -> bool:
        """Whether it is an answer that is waited for: only the account itself and its server may give it."""
        answer = self._waiting.get(iq.get("id", ""))
        if answer is None or answer.done() or iq.get("type") not in ("result", "error"):
            return False
        if iq.get("from", "").lower() not in ("", own.bare, own.full.lower(), own.domain):
            return False
        answer.set_result(iq)
        return True
