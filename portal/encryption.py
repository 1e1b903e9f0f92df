"""Secrets at rest: `key id : Fernet token`, a list of keys with the newest first, a command that re-encrypts (R9).

The key id stands before each token so that `check` can tell which secrets no known key can read. A row's secret is
decrypted when it is asked for, not when the row is read: one that cannot be decrypted is the trouble of its row only.
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
from django.db.models.query_utils import DeferredAttribute

UNDECRYPTABLE = "It cannot be decrypted. Set it anew."


class Undecryptable(ImproperlyConfigured):
    """A stored secret whose key is not in the list, or that is damaged."""


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
    """The plain text of what `encrypt` made. Raises Undecryptable."""
    if not stored:
        return ""
    name, _, token = stored.partition(":")
    fernet = _ring(tuple(settings.ENCRYPTION_KEYS)).get(name)
    if fernet is None:
        raise Undecryptable(f"A stored secret needs encryption key {name}, which PORTAL_ENCRYPTION_KEYS lacks.")
    try:
        return fernet.decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise Undecryptable(f"A stored secret is damaged (key {name}).") from error


def mask(secret: str) -> str:
    """What a face may show of a secret: `••••1234`, nothing of a short one (R9)."""
    if not secret:
        return ""
    return "••••" + (secret[-4:] if len(secret) >= 12 else "")


def readable(row: models.Model, name: str) -> Any:
    """The secret `name` of a row; None when it cannot be decrypted."""
    try:
        return getattr(row, name)
    except Undecryptable:
        return None


def mask_of(row: models.Model, name: str) -> str:
    """`mask` of the secret `name` of a row, a text; in words when it cannot be decrypted."""
    secret = readable(row, name)
    return UNDECRYPTABLE if secret is None else mask(secret)


class Sealed(str):
    """A secret as the database has it."""


class _OpenedWhenRead(DeferredAttribute):
    field: Any

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if isinstance(value, Sealed):
            value = instance.__dict__[self.field.attname] = self.field.opened(value)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class _Secret:
    """What both kinds of encrypted fields have: what was not asked for is saved as it was read."""

    descriptor_class: type = _OpenedWhenRead
    attname: str

    def from_db_value(self, value: str | None, *_: Any) -> str:
        return Sealed(value or "")

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        return model_instance.__dict__[self.attname]


class EncryptedJSONField(_Secret, models.TextField[dict[str, str], dict[str, str]]):
    """A JSON object of names and texts, encrypted as a whole. Python sees the plain dict, the database one token."""

    def opened(self, sealed: str) -> dict[str, str]:
        return json.loads(decrypt(sealed)) if sealed else {}

    def to_python(self, value: Any) -> dict[str, str]:
        return value if isinstance(value, dict) else {}

    def get_prep_value(self, value: Any) -> str:
        if isinstance(value, Sealed):
            return str(value)
        return encrypt(json.dumps(value)) if value else ""

    def value_to_string(self, obj: models.Model) -> str:
        raise TypeError("A secret is never serialised.")


class EncryptedTextField(_Secret, models.TextField[str, str]):
    """One encrypted text."""

    def opened(self, sealed: str) -> str:
        return decrypt(sealed)

    def get_prep_value(self, value: Any) -> str:
        return str(value) if isinstance(value, Sealed) else encrypt(value or "")

    def value_to_string(self, obj: models.Model) -> str:
        raise TypeError("A secret is never serialised.")
