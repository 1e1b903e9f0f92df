"""A user's organisation: the own group, and the groups its system provider linked with it (R42).

Inside it users find, monitor, write to and write notes on one another. Everybody else does not exist for them.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from django.db.models import F, Q, QuerySet

from portal.models import EndUser, Group
from portal.problems import not_found
from portal.scoping import TenantQuerySet, parse_id
from portal.sql import as_uuid, execute_for

_HOMES = """
    SELECT u.id, u.group_id, u.reseller_id, g.enterprise
    FROM portal_enduser u JOIN portal_group g ON g.id = u.group_id WHERE u.id {among}
"""
# Two users are of the same organisation when this is the same of both.
Organisation = tuple[uuid.UUID, str]


def organisation_of(group: Group) -> Organisation:
    """Of a linked group its reseller and enterprise, else the group itself."""
    return home_of(group.pk, group.reseller_id, group.enterprise)


def home_of(group_id: Any, reseller_id: Any, enterprise: str) -> Organisation:
    """The organisation of a user of this group, by its columns as the database returned them."""
    return (as_uuid(reseller_id), enterprise) if enterprise else (as_uuid(group_id), "")


def organisations_of(user_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Organisation]:
    """The organisation of each of these users, in one query."""
    rows = execute_for(_HOMES, user_ids, {}) if user_ids else []
    return {as_uuid(key): home_of(*columns) for key, *columns in rows}


def same_organisation(one: str, other: str) -> Q:
    """A condition on rows that relate two users, by the names of the relations."""
    linked = ~Q(**{f"{one}__group__enterprise": ""}) & Q(
        **{
            f"{one}__reseller": F(f"{other}__reseller"),
            f"{one}__group__enterprise": F(f"{other}__group__enterprise"),
        }
    )
    return Q(**{f"{one}__group": F(f"{other}__group")}) | linked


def linked_groups(user: EndUser) -> QuerySet[Group]:
    """The other groups of the user's enterprise."""
    enterprise = Group.objects.filter(pk=user.group_id).exclude(enterprise="").values("enterprise")
    found = Group.objects.filter(reseller_id=user.reseller_id, enterprise__in=enterprise)
    return found.exclude(pk=user.group_id).order_by("id")


def colleagues_of(user: EndUser) -> TenantQuerySet[EndUser]:
    """The active users of the user's organisation, the user among them; whoever is not among them is 404."""
    in_sight = Q(group_id=user.group_id) | Q(group__in=linked_groups(user).order_by())
    return EndUser.objects.filter(in_sight, is_active=True)


def get_colleague(user: EndUser, row_id: object) -> EndUser:
    """The active user of the organisation with this id. Raises Problem `not_found` otherwise, whatever the reason."""
    return get_colleagues(user, [row_id])[0]


def get_colleagues(user: EndUser, row_ids: Sequence[object]) -> list[EndUser]:
    """Several of them, in the order given and in one query. Raises Problem `not_found` when one of them is none."""
    keys = [parse_id(row_id) for row_id in row_ids]
    found = colleagues_of(user).in_bulk({key for key in keys if key})
    if any(key not in found for key in keys):
        raise not_found("User")
    return [found[key] for key in keys if key]
