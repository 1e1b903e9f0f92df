"""Which addresses the portal may be sent to: base URLs are typed by tenants and must not reach our own network."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from django.conf import settings

MAX_URL_LENGTH = 500

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Addresses given to servers of the internet lie in here.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Special ones that Python's table takes for global: IETF protocols (with Teredo), 6to4 relays, documentation.
_SPECIAL_4 = tuple(map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24")))
_SPECIAL_6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "3fff::/20")))


class ForbiddenAddress(ValueError):
    """The address is not a public one; the text says which name leads there."""


def check_base_url(url: str) -> None:
    """Refuse what cannot be a carrier's base URL (contracts section 2). Raises ValueError with a sentence.

    Private, loopback and link-local addresses pass only with `PORTAL_ALLOW_PRIVATE_URLS`. A name that does not resolve
    passes here: reaching it fails later with its own message, and the transport checks again when it connects.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no port
    except ValueError:
        raise ValueError("This is not a valid web address.") from None
    if len(url) > MAX_URL_LENGTH or not url.isprintable() or any(character.isspace() for character in url):
        raise ValueError("This is not a valid web address.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("The address must start with https:// or http:// and name a server.")
    if "@" in parts.netloc:
        raise ValueError("The address must not contain a user name or password.")
    if parts.query or parts.fragment:
        raise ValueError("The address must end with its path, without ? or #.")
    check_host_of(url)


def check_host_of(url: str) -> None:
    """Raises ForbiddenAddress when the URL's host is, or resolves to, a private address. Blocks on DNS."""
    check_host(urlsplit(url).hostname or "")


def check_host(host: str) -> None:
    """Raises ForbiddenAddress when `host` is, or resolves to, a private address. Blocks on DNS."""
    if settings.PORTAL_ALLOW_PRIVATE_URLS:
        return
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for *_, address in found:
        check_address(str(address[0]), host)


def check_literal_of(url: str) -> None:
    """Like `check_host_of` without DNS: only for hosts that are addresses themselves."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    check_address(host, host)


def check_address(address: str, host: str) -> None:
    """Raises ForbiddenAddress when `address`, to which `host` leads, is not public."""
    if not settings.PORTAL_ALLOW_PRIVATE_URLS and not is_public(address):
        raise ForbiddenAddress(f"{host} leads to a private or local address, which is not allowed.")


def is_public(address: str) -> bool:
    """Whether an IP address is a public unicast one, IPv4 addresses wrapped in IPv6 unwrapped."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _GLOBAL_UNICAST or any(ip in network for network in _SPECIAL_6):
            return False
    elif any(ip in network for network in _SPECIAL_4):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
