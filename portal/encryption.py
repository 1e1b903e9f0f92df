"""Secrets at rest: `key id : Fernet token`, a list of keys with the newest first, a command that re-encrypts (R9).

The key id stands before each token so that `check` can tell which secrets no known key can read.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models


def key_id(key: str) -> str:
    """A short public name for a key: the start of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


@lru_cache(maxsize=8)
def _ring(keys: tuple[str, ...]) -> dict[str, Fernet]:
    try:
        return {key_id(key): Fernet(key) for key in keys}
    except ValueError as error:
        raise ImproperlyConfigured(
            "PORTAL_ENCRYPTION_KEYS must hold Fernet keys (32 url-safe base64 bytes)."
        ) from error


def known_key_ids() -> set[str]:
    return set(_ring(tuple(settings.ENCRYPTION_KEYS)))


def encrypt(plain: str) -> str:
    """`plain` under the first key. "" stays ""."""
    if not plain:
        return ""
    newest = settings.ENCRYPTION_KEYS[0]
    token = _ring(tuple(settings.ENCRYPTION_KEYS))[key_id(newest)].encrypt(plain.encode())
    return f"{key_id(newest)}:{token.decode()}"


def decrypt(stored: str) -> str:
    """The plain text of what `encrypt` made. Raises ImproperlyConfigured when its key is not in the list."""
    if not stored:
        return ""
    name, _, token = stored.partition(":")
    fernet = _ring(tuple(settings.ENCRYPTION_KEYS)).get(name)
    if fernet is None:
        raise ImproperlyConfigured(f"A stored secret needs encryption key {name}, which PORTAL_ENCRYPTION_KEYS lacks.")
    try:
        return fernet.decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise ImproperlyConfigured(f"A stored secret is damaged (key {name}).") from error


def mask(secret: str) -> str:
    """What a face may show of a secret: `••••1234`, nothing of a short one (R9)."""
    if not secret:
        return ""
    return "••••" + (secret[-4:] if len(secret) >= 12 else "")


class EncryptedJSONField(models.TextField[dict[str, str], dict[str, str]]):
    """A JSON object of names and texts, encrypted as a whole. Python sees the plain dict, the database one token."""

    def from_db_value(self, value: str | None, *_: Any) -> dict[str, str]:
        return json.loads(decrypt(value)) if value else {}

    def to_python(self, value: Any) -> dict[str, str]:
        return value if isinstance(value, dict) else {}

    def get_prep_value(self, value: Any) -> str:
        return encrypt(json.dumps(value)) if value else ""

    def value_to_string(self, obj: models.Model) -> str:
        raise TypeError("A secret is never serialised.")


class EncryptedTextField(models.TextField[str, str]):
    """One encrypted text."""

    def from_db_value(self, value: str | None, *_: Any) -> str:
        return decrypt(value or "")

    def get_prep_value(self, value: Any) -> str:
        return encrypt(value or "")

    def value_to_string(self, obj: models.Model) -> str:
        raise TypeError("A secret is never serialised.")
