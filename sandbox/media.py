"""Files that came with inbound texts, on the carrier's shelf until the portal gets them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from aiohttp import web

# Part of every MMS on many networks: how its parts are to be laid out, nothing for people.
SMIL_NAME = "layout.smil"
SMIL = b'<smil><head><layout/></head><body><par dur="5000ms"/></body></smil>'


@dataclass(frozen=True)
class Media:
    """A file that came with an inbound text, offered to the portal."""

    name: str
    content_type: str
    content: bytes


LAYOUT = Media(SMIL_NAME, "application/smil", SMIL)


class Shelf:
    """The files by their tokens; each can be missing for its first moment, as on a carrier whose store is behind."""

    def __init__(self) -> None:
        self._files: dict[str, Media] = {}
        self._asked: dict[str, int] = {}

    def put(self, media: Media, token: str | None = None) -> str:
        token = token or uuid.uuid4().hex
        self._files[token] = media
        return token

    def get(self, token: str) -> Media | None:
        return self._files.get(token)

    def answer(self, token: str, misses: int = 0) -> web.Response:
        """The file, or 404 when there is none and the first `misses` times it is asked for."""
        media = self._files.get(token)
        self._asked[token] = self._asked.get(token, 0) + 1
        if media is None or self._asked[token] <= misses:
            return web.Response(status=404, text="Not Found")
        return web.Response(body=media.content, headers={"Content-Type": media.content_type})
