"""Who sees what: `visible_to(actor)`, the one tenant filter of every face.

Staff of a level see that level and what is below it; an end user sees what is theirs. A model says in `tenant_paths`
where its level is found; a level without a path sees nothing, so a forgotten model is closed, not open. What many may
see is found through a relation besides: `shared_paths` of the model.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol, Self, TypeVar

from django.db import models

from portal.problems import Problem, invalid, not_found

ModelT = TypeVar("ModelT", bound=models.Model)


class Actor(Protocol):
    """Whoever acts: a portal account or an end user. Services take None for the system itself."""

    pk: Any
    is_active: Any

    @property
    def actor_level(self) -> str: ...

    @property
    def actor_scope_id(self) -> uuid.UUID | None: ...

    @property
    def may_write(self) -> bool: ...


class TenantQuerySet(models.QuerySet[ModelT]):
    """A queryset that knows the tenants."""

    def visible_to(self, actor: Actor | None) -> Self:
        """The rows `actor` may see; none for nobody and for whoever is deactivated."""
        if actor is None or not actor.is_active:
            return self.none()
        level = actor.actor_level
        if level == "operator":
            return self.all()
        path = getattr(self.model, "tenant_paths", {}).get(level)
        if path is None:
            return self.none()
        return self.filter(models.Q(**{path: actor.actor_scope_id}) | self._shared_with(level, actor.actor_scope_id))

    def _shared_with(self, level: str, scope_id: uuid.UUID | None) -> models.Q:
        """As a set of ids, so that no row is found twice."""
        relation, lookup = getattr(self.model, "shared_paths", {}).get(level, ("", ""))
        if not relation:
            return models.Q()
        related: Any = self.model._meta.get_field(relation).related_model
        return models.Q(**{f"{relation}__in": related._base_manager.filter(**{lookup: scope_id}).values("pk")})

    def visible_to_users(self, users: Iterable[Actor]) -> Self:
        """What is each of several end users' own, in one query; `seen_by` is the id of the user who sees a row."""
        path = getattr(self.model, "tenant_paths", {}).get("user")
        if path is None:
            return self.none()
        ids = [user.actor_scope_id for user in users if user.is_active and user.actor_level == "user"]
        return self.filter(**{f"{path}__among": ids}).annotate(seen_by=models.F(path))


class TenantModel(models.Model):
    """A model with tenants: `tenant_paths` maps a level to the lookup that holds that level's id.

    `shared_paths` maps a level to a relation, and to the lookup from there that holds the id of one of those who also
    see the row: a contact centre's conversations are seen by all its agents (S4.3).
    """

    tenant_paths: ClassVar[dict[str, str]] = {}
    shared_paths: ClassVar[dict[str, tuple[str, str]]] = {}

    objects = TenantQuerySet.as_manager()

    class Meta:
        abstract = True


def parse_id(value: object) -> uuid.UUID | None:
    """An id as the faces give it, None when it cannot be one."""
    try:
        return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))
    except ValueError:
        return None


def get_visible(queryset: TenantQuerySet[ModelT], actor: Actor | None, row_id: object, what: str = "") -> ModelT:
    """The row with `row_id` that `actor` may see. Raises Problem `not_found` otherwise, whatever the reason."""
    key = parse_id(row_id)
    row = queryset.visible_to(actor).filter(pk=key).first() if key else None
    if row is None:
        raise not_found(what or str(queryset.model._meta.verbose_name).capitalize())
    return row


def require_writer(actor: Actor | None) -> None:
    """Raises Problem `read_only` when a read-only account tries to write. None is the system itself."""
    if actor is not None and not actor.may_write:
        raise Problem("read_only", "Your account may look but not change anything.", status=403)


def require_id(value: object, field: str) -> uuid.UUID:
    key = parse_id(value)
    if key is None:
        raise invalid(**{field: "This is not an id."})
    return key
