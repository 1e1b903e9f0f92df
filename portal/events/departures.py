"""Why a device is gone: its own logout, or somebody ended it. Streams say so in their last words."""

from __future__ import annotations

import uuid

from django.core.cache import cache

_REMEMBERED_S = 120


def note_logout(device_id: uuid.UUID) -> None:
    """Call before the device is deleted."""
    cache.set(f"logout:{device_id}", 1, timeout=_REMEMBERED_S)


def why_gone(device_id: uuid.UUID) -> str:
    """`logout` or `revoked`, of a device that is not there any more."""
    return "logout" if cache.get(f"logout:{device_id}") else "revoked"
