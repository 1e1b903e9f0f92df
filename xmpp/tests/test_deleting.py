"""Deleting a user finds what is theirs by an index, however much there is of others (architecture, rule 7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import models

from portal.models import EndUser
from portal.sql import execute
from xmpp.models import GatewayMember, ImMessage, ImpAccount

pytestmark = pytest.mark.django_db


def references() -> Iterator[models.Field[Any, Any]]:
    """The columns of ours that are looked through when a user, and so their account and messages, go."""
    for app in ("xmpp", "presence"):
        for model in apps.get_app_config(app).get_models():
            for field in model._meta.local_fields:
                if field.related_model in (EndUser, ImpAccount, GatewayMember, ImMessage):
                    yield field


# The indexes that begin with a column and have a row for each of its values.
_INDEXES = """
    SELECT i.indexrelid::regclass FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = %s::regclass AND a.attname = %s
        AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) = format('(%%I IS NOT NULL)', a.attname))
"""


@pytest.mark.parametrize("field", list(references()), ids=lambda field: f"{field.model.__name__}.{field.name}")
def test_a_users_rows_are_found_by_an_index(field: models.Field[Any, Any]) -> None:
    """By PostgreSQL's own check of the reference, and by Django's."""
    assert execute(_INDEXES, [field.model._meta.db_table, field.column])
