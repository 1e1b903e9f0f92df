"""System providers, resellers and groups: made, changed and deleted by the staff of a level above."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models.deletion import ProtectedError

from portal.countries import require_country
from portal.extensions import check_guards
from portal.models import Group, Reseller, SystemProvider
from portal.problems import Problem, conflict
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.changes import apply_changes, validate

TenantT = TypeVar("TenantT", SystemProvider, Reseller, Group)

FIELDS: dict[type[models.Model], set[str]] = {
    SystemProvider: {
        "name",
        "auto_generate_xmpp_password",
        "time_zone",
        "default_country",
        "staff_may_read_messages",
    },
    Reseller: {"name"},
    Group: {"name", "enterprise"},
}


def create_system_provider(*, actor: Actor | None, **fields: Any) -> SystemProvider:
    """A new tenant. Operators only: `actor` must be one (or None, the system itself)."""
    if actor is not None and actor.actor_level != "operator":
        raise Problem("not_allowed", "Only an operator can add a system provider.", status=403)
    return _create(actor, SystemProvider(**fields))


def create_reseller(*, actor: Actor | None, system_provider: SystemProvider, **fields: Any) -> Reseller:
    """A new reseller of `system_provider`, which the caller found through `visible_to`."""
    return _create(actor, Reseller(system_provider=system_provider, **fields))


def create_group(*, actor: Actor | None, reseller: Reseller, **fields: Any) -> Group:
    """A new group of `reseller`, which the caller found through `visible_to`."""
    if fields.get("enterprise"):
        _require_may_link(actor)
    group = Group(reseller=reseller, system_provider_id=reseller.system_provider_id, **fields)
    return _create(actor, group)


def update_tenant(*, actor: Actor | None, row: TenantT, changes: Mapping[str, Any]) -> TenantT:
    """Change fields of a system provider, reseller or group; its parent never changes."""
    require_writer(actor)
    with transaction.atomic():
        row = type(row).objects.select_for_update().get(pk=row.pk)
        before, after = apply_changes(row, changes, allowed=FIELDS[type(row)])
        if not after:
            return row
        if "enterprise" in after:
            _require_may_link(actor)
        _check(row)
        row.save()
        check_guards(row, "update")
        audit.record(actor, "update", row, before=before, after=after)
    return row


def delete_tenant(*, actor: Actor | None, row: SystemProvider | Reseller | Group) -> None:
    """Delete an empty level. Raises Problem `in_use` (409) that says what is still below it."""
    require_writer(actor)
    if actor is not None and actor.actor_scope_id == row.pk:
        raise conflict("in_use", "You cannot delete the level your own account belongs to.")
    with transaction.atomic():
        check_guards(row, "delete")
        audit.record(actor, "delete", row, before={"name": row.name})
        try:
            row.delete()
        except ProtectedError as error:
            raise conflict("in_use", in_use_sentence(row, error)) from error


def in_use_sentence(row: models.Model, error: ProtectedError) -> str:
    """What keeps a row from being deleted, by name."""
    kinds: dict[str, list[str]] = {}
    for blocker in sorted(error.protected_objects, key=str):
        kinds.setdefault(str(blocker._meta.verbose_name), []).append(str(blocker))
    parts = [f"{kind} {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" for kind, names in kinds.items()]
    return f"{row} is still in use by {'; '.join(parts)}. Delete or move these first."


def may_link_groups(actor: Actor | None) -> bool:
    """An enterprise opens groups to one another's users: only the system provider decides on it (R42)."""
    return actor is None or actor.actor_level in ("operator", "system_provider")


def _require_may_link(actor: Actor | None) -> None:
    if not may_link_groups(actor):
        raise Problem("not_allowed", "Only the system provider can link groups into an enterprise.", status=403)


def _create(actor: Actor | None, row: TenantT) -> TenantT:
    require_writer(actor)
    with transaction.atomic():
        _check(row)
        row.save(force_insert=True)
        audit.record(actor, "create", row, after={"name": row.name})
    return row


def _check(row: SystemProvider | Reseller | Group) -> None:
    if isinstance(row, SystemProvider):
        row.default_country = require_country(row.default_country, "default_country")
    validate(row)
