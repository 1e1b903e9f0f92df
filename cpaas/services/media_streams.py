"""Media streams of a group and their agents (S4.3, S4.33)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.models.deletion import ProtectedError

from cpaas.models import MediaStream, QueueOffer
from cpaas.services.queue_news import tell_queue_changed
from cpaas.services.queueing import release_reservations_of
from portal import clock
from portal.models import EndUser, Group
from portal.problems import conflict, invalid
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.changes import apply_changes, validate
from portal.services.tenants import in_use_sentence

STREAM_FIELDS = {"name", "media_type", "routing", "offer_timeout_s"}


def create_media_stream(
    *, actor: Actor | None, group: Group, agents: Iterable[EndUser] = (), **fields: Any
) -> MediaStream:
    """A new media stream of `group`. Raises Problem `invalid`, also for an agent of another group."""
    require_writer(actor)
    with transaction.atomic():
        stream = MediaStream(
            group=group, reseller_id=group.reseller_id, system_provider_id=group.system_provider_id, **fields
        )
        validate(stream)
        stream.save(force_insert=True)
        _set_agents(stream, agents)
        audit.record(actor, "create", stream, after={"name": stream.name, "media_type": stream.media_type})
    return stream


def update_media_stream(
    *,
    actor: Actor | None,
    media_stream: MediaStream,
    changes: Mapping[str, Any],
    agents: Iterable[EndUser] | None = None,
) -> MediaStream:
    """Change a media stream. Raises Problem `invalid`, `in_use` when a stream with a number would stop taking SMS."""
    require_writer(actor)
    with transaction.atomic():
        stream = MediaStream.objects.select_for_update().get(pk=media_stream.pk)
        before, after = apply_changes(stream, changes, allowed=STREAM_FIELDS)
        validate(stream)
        if stream.media_type != "sms" and stream.cpaas_numbers.exists():
            raise conflict("in_use", f"{stream.name} has a CPaaS number. Delete the number first.")
        stream.save()
        if agents is not None:
            _set_agents(stream, agents)
            after["agents"] = [str(key) for key in stream.agents.values_list("pk", flat=True)]
        audit.record(actor, "update", stream, before=before, after=after)
    return stream


def delete_media_stream(*, actor: Actor | None, media_stream: MediaStream) -> None:
    """Delete a media stream without a number. Raises Problem `in_use` (409)."""
    require_writer(actor)
    with transaction.atomic():
        audit.record(actor, "delete", media_stream, before={"name": media_stream.name})
        try:
            media_stream.delete()
        except ProtectedError as error:
            raise conflict("in_use", in_use_sentence(media_stream, error)) from error


def _set_agents(stream: MediaStream, agents: Iterable[EndUser]) -> None:
    """Whoever is no agent any more keeps nothing of the stream: what they had reserved waits again."""
    agents = list(agents)
    for agent in agents:
        if agent.group_id != stream.group_id:
            raise invalid(agents=f"{agent.name} is not a user of this group.")
    gone = set(stream.agents.values_list("pk", flat=True)) - {agent.pk for agent in agents}
    stream.agents.set(agents)
    release_reservations_of(media_stream_id=stream.pk, agent_ids=sorted(gone))
    QueueOffer.objects.filter(entry__media_stream=stream, agent__in=gone).update(expires_at=clock.now())
    tell_queue_changed([stream.pk])
