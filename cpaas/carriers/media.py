"""Fetching the media of inbound texts: from which hosts, and which of them may see our credentials.

The links come from outside. Credentials go to the carrier's own interface only, never to where it redirects, and a
link to any other host is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from cpaas.carriers.base import HttpRequest, Refused

# More than the largest medium a carrier takes (facts 4.6: 5 MB), so that one too large is seen to be so.
MAX_MEDIUM_BYTES = 26 * 1024 * 1024
_PORTS = {"http": 80, "https": 443}


def media_request(url: str, *, own_url: str = "", authorization: str = "", hosts: Sequence[str] | None) -> HttpRequest:
    """A GET of `url`.

    `authorization` is sent to scheme, host and port of `own_url` alone. `hosts` are further names that may be asked,
    with those below them when they begin with a dot; None for a carrier that does not say where its media lie.

    Raises Refused for any other address.
    """
    parts, own = _split(url), _split(own_url) if own_url else None
    headers = {"Accept": "*/*"}
    if own is not None and _origin(parts) == _origin(own):
        headers["Authorization"] = authorization
    elif hosts is not None and not _is_known(parts, own, hosts):
        raise Refused("The address of this file is not one of the carrier's.", "foreign_host")
    return HttpRequest("GET", url, headers, max_response_bytes=MAX_MEDIUM_BYTES)


def is_medium(url: str) -> bool:
    """Whether it is a web address and not the `.smil` part of an MMS, which only says how to lay the others out."""
    try:
        parts = _split(url)
    except Refused:
        return False
    return not parts.path.lower().endswith(".smil")


def _is_known(parts: SplitResult, own: SplitResult | None, hosts: Sequence[str]) -> bool:
    """Another port of the carrier's own machine counts; unencrypted it must not become."""
    host = parts.hostname or ""
    if own is not None and host == own.hostname and (parts.scheme == own.scheme or parts.scheme == "https"):
        return True
    named = any(host == name or (name.startswith(".") and host.endswith(name)) for name in hosts)
    return named and parts.scheme == "https"


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no port
    except ValueError:
        raise Refused("The address of this file is not valid.", "invalid_address") from None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise Refused("The address of this file is not valid.", "invalid_address")
    return parts
