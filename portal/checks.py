"""System checks: misconfiguration has an id and is told before anything starts (architecture 3.6)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections, models

from portal.celery import app
from portal.encryption import EncryptedJSONField, EncryptedTextField, known_key_ids

PREFORK_POOLS = {"prefork", "processes"}


def encrypted_fields() -> Iterator[tuple[type[models.Model], models.Field[Any, Any]]]:
    """Every encrypted field of every model."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedJSONField | EncryptedTextField):
                yield model, field


@register
def check_pool(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if app.conf.worker_pool not in PREFORK_POOLS:
        return []
    return [
        Error(
            "The Celery worker pool is prefork, whose forked children share connections and threads.",
            hint="Use the threads pool: worker_pool = 'threads'.",
            id="portal.E001",
        )
    ]


@register
def check_single_host(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if settings.DEBUG or settings.TESTING or settings.SINGLE_HOST:
        return []
    parts = []
    if settings.IS_SQLITE:
        parts.append("the database is SQLite (DATABASE_URL)")
    if urlsplit(settings.CELERY_BROKER_URL).scheme == "atomicfs":
        parts.append("the broker is a folder (REDIS_URL or CELERY_BROKER_URL)")
    if not parts:
        return []
    return [
        Error(
            f"DEBUG is off and {' and '.join(parts)}: this works on one host only.",
            hint="Set the named variables, or PORTAL_SINGLE_HOST=1 if one host is what you want.",
            id="portal.E002",
        )
    ]


@register
def check_secret_key(app_configs: Any, **_: Any) -> list[CheckMessage]:
    try:
        if settings.SECRET_KEY:
            return []
    except ImproperlyConfigured:
        pass  # what Django makes of an empty one
    return [
        Error(
            "SECRET_KEY is not set. It is made by itself only with DEBUG on.",
            hint="Set SECRET_KEY to a long random text, the same on every machine.",
            id="portal.E003",
        )
    ]


@register(Tags.database)
def check_stored_keys(app_configs: Any, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Runs with `manage.py check --database default` and before each `migrate`."""
    if "default" not in (databases or []):
        return []
    known = known_key_ids()
    tables = set(connections["default"].introspection.table_names())
    return [
        Error(
            f"{model._meta.label}.{field.name} has secrets under the encryption key {key}, which is not known.",
            hint="Add that key to PORTAL_ENCRYPTION_KEYS (or restore var/keys), then run manage.py rotatekeys.",
            id="portal.E004",
        )
        for model, field in encrypted_fields()
        if model._meta.db_table in tables
        for key in sorted(stored_key_ids(model, field) - known)
    ]


def configuration_errors() -> list[CheckMessage]:
    """What keeps any process from doing what is meant; needs no database."""
    return [*check_pool(None), *check_single_host(None), *check_secret_key(None)]


def stored_key_ids(model: type[models.Model], field: models.Field[Any, Any]) -> set[str]:
    """The ids of the keys that a column's secrets are under; nothing is decrypted."""
    start = models.functions.Substr(models.functions.Cast(field.name, models.TextField()), 1, 8)
    try:
        rows = model._base_manager.exclude(**{field.name: {} if isinstance(field, EncryptedJSONField) else ""})
        return {key for key in rows.annotate(key_id=start).values_list("key_id", flat=True).distinct() if key}
    except DatabaseError:
        return set()  # the column is not migrated yet


@register(Tags.security, deploy=True)
def check_proxies(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if settings.TRUSTED_PROXIES or settings.SINGLE_HOST or urlsplit(settings.PUBLIC_URL).scheme != "https":
        return []
    return [
        Warning(
            "PORTAL_PUBLIC_URL is https and PORTAL_TRUSTED_PROXIES is empty: every caller seems to be the proxy, so "
            "that limits per address and the addresses in the audit trail mean nothing.",
            hint="Set PORTAL_TRUSTED_PROXIES to the addresses of the proxies in front.",
            id="portal.W002",
        )
    ]


@register(Tags.security, deploy=True)
def check_own_key_file(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if os.environ.get("PORTAL_ENCRYPTION_KEYS") or settings.SINGLE_HOST:
        return []
    return [
        Warning(
            "The encryption key is the one in var/keys, which exists on this machine only.",
            hint="Set PORTAL_ENCRYPTION_KEYS, the same on every machine, and keep it apart from the database's backup.",
            id="portal.W001",
        )
    ]
