"""Why a device is gone: its own logout, or somebody ended it. Streams say so in their last words."""

from __future__ import annotations

import contextlib
import uuid

import redis
from django.core.cache import cache

_REMEMBERED_S = 120


def note_logout(device_id: uuid.UUID) -> None:
    """Call before the device is deleted. Without Redis the last word is `revoked`, which ends a stream as well."""
    with contextlib.suppress(redis.RedisError):
        cache.set(f"logout:{device_id}", 1, timeout=_REMEMBERED_S)


def why_gone(device_id: uuid.UUID) -> str:
    """`logout` or `revoked`, of a device that is not there any more."""
    with contextlib.suppress(redis.RedisError):
        if cache.get(f"logout:{device_id}"):
            return "logout"
    return "revoked"
