"""HTTP Basic authentication, asked for and given."""

from __future__ import annotations

import base64
import binascii


def basic_pair(header: str) -> tuple[str, str] | None:
    """Name and password of an `Authorization` header; None when it holds none."""
    scheme, _, encoded = header.partition(" ")
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if scheme.lower() == "basic" and colon else None


def basic_header(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
