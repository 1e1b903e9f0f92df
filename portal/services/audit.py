"""Writing the audit trail (architecture section 3.1: every service writes its own row)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models

from portal import request_context
from portal.models import AuditEntry, EndUser, PortalAccount
from portal.scoping import Actor


def actor_of(actor: Actor | None) -> dict[str, Any]:
    """Who acts, as the columns of an audit or evidence row; None is the system itself."""
    if isinstance(actor, PortalAccount):
        return {"actor_kind": "staff", "actor_id": actor.pk, "actor_name": actor.username}
    if isinstance(actor, EndUser):
        return {"actor_kind": "user", "actor_id": actor.pk, "actor_name": actor.login}
    return {"actor_kind": "system", "actor_id": None, "actor_name": "system"}


def tenant_of(row: models.Model) -> dict[str, Any]:
    """The ids of the levels a row belongs to, as the columns of an audit row."""
    name = row._meta.model_name
    ids = {level: getattr(row, f"{level}_id", None) for level in ("system_provider", "reseller", "group")}
    levels = {"systemprovider": "system_provider", "reseller": "reseller", "group": "group"}
    if name in levels:
        ids[levels[name]] = row.pk
    return {f"{level}_id": key for level, key in ids.items()}


def record(
    actor: Actor | None,
    action: str,
    row: models.Model,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Write who did `action` to `row`. `before` and `after` hold what changed, as JSON values without secrets.

    Must run inside the transaction of the change.
    """
    context = request_context.current()
    return AuditEntry.objects.create(
        **actor_of(actor),
        **tenant_of(row),
        action=action,
        object_type=row._meta.model_name or "",
        object_id=row.pk,
        object_name=str(row)[:200],
        before=dict(before or {}),
        after=dict(after or {}),
        ip=context.ip,
        request_id=context.request_id,
    )
