"""Carriers whose files want the account's password and may lie on another host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from aiohttp import web

from sandbox.calls import Settings
from sandbox.carrier import Carrier
from sandbox.fields import Field, flag, text


@dataclass
class HostedMediaSettings(Settings):
    """`media_redirect`: files lie on another host, `media_host` or else the port that all simulators share."""

    media_redirect: bool = True
    media_host: str | None = None


class HostedMedia(Carrier):
    """Answers for its files, once the password has been checked."""

    own_settings: ClassVar[Mapping[str, Field]] = {"media_redirect": flag(), "media_host": text().or_null()}

    settings: HostedMediaSettings

    def hosted(self, token: str) -> web.Response:
        """The file, or where it lies."""
        media = self.media.get(token)
        if media is None or not self.settings.media_redirect:
            return self.media.answer(token, self.settings.media_misses)
        host = self.settings.media_host or self.common_url
        return web.Response(status=307, headers={"Location": f"{host}/{self.name}/cdn/{token}/{media.name}"})

    def cdn_token(self, request: web.BaseRequest) -> str | None:
        """The file that is asked for on the other host; None for any other address."""
        _, found, rest = request.path.partition(f"/{self.name}/cdn/")
        return rest.partition("/")[0] if found else None

    def from_cdn(self, request: web.BaseRequest, token: str) -> web.Response:
        """The other host knows nothing of the account and refuses whoever brings its password along."""
        if "Authorization" in request.headers:
            return web.Response(status=400, text="Only one auth mechanism allowed")
        return self.media.answer(token, self.settings.media_misses)
