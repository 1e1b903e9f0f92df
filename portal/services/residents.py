"""Manage Services: staff start, stop and restart residents (R36). Workers follow at once, and say what they do."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from portal import clock
from portal.events import wake
from portal.models import Lease, Service, SystemProvider
from portal.models.residents import title_of
from portal.problems import not_found
from portal.residents.leases import living
from portal.scoping import Actor, get_visible, parse_id, require_writer
from portal.services import audit

# A resident that did not report for this long is taken for dead.
SILENT_AFTER = timedelta(seconds=30)
# The topic hosts listen to.
SERVICES_TOPIC = "services"
# The Presence Server is nothing without its connectors: they end with it, and the CTI connector begins with it.
_STOP_TOO = {"presence-server": ("sip-connector", "cti-connector")}
_START_TOO = {"presence-server": ("cti-connector",)}


@dataclass(frozen=True)
class Standing:
    """What a service does as far as anybody knows, and why in words."""

    actual: str
    detail: str


@dataclass(frozen=True)
class Holding:
    """Leases of one kind that one worker has now, in words: what it may do (`XMPP shard`), for which parts ("" for the
    only one), on which machine, and since when it has the last of them. `holder` is its name in the log."""

    title: str
    parts: str
    worker: str
    holder: str
    since: datetime | None


def start_service(*, actor: Actor | None, service: Service) -> None:
    """Have it run wherever its worker does. Raises Problem `not_found`, `read_only`."""
    _want(actor, service, "running", _START_TOO)


def stop_service(*, actor: Actor | None, service: Service) -> None:
    """Have it finish what it is at and run nowhere, also after a restart of the workers, until somebody starts it.

    Raises Problem `not_found`, `read_only`.
    """
    _want(actor, service, "stopped", _STOP_TOO)


def restart_service(*, actor: Actor | None, service: Service) -> None:
    """Have every worker end it in order and start it again; one that is stopped starts.

    Raises Problem `not_found`, `read_only`.
    """
    require_writer(actor)
    with transaction.atomic():
        row = _locked(actor, service)
        row.desired, row.restart_requested_at = "running", clock.now()
        row.save(update_fields=["desired", "restart_requested_at"])
        audit.record(actor, "restart", row)
        _tell()


def _want(actor: Actor | None, service: Service, desired: str, too: Mapping[str, Sequence[str]]) -> None:
    require_writer(actor)
    with transaction.atomic():
        row = _locked(actor, service)
        together = Service.objects.select_for_update().filter(
            name__in=(row.name, *too.get(row.name, ())), system_provider=row.system_provider_id
        )
        for one in together.exclude(desired=desired).order_by("pk"):
            before, one.desired = one.desired, desired
            one.save(update_fields=["desired"])
            audit.record(
                actor,
                "start" if desired == "running" else "stop",
                one,
                before={"desired": before},
                after={"desired": desired},
            )
        _tell()


def _locked(actor: Actor | None, service: Service) -> Service:
    rows = Service.objects.select_for_update(of=("self",))
    if actor is None:
        return rows.get(pk=service.pk)
    return get_visible(rows, actor, service.pk)


def _tell() -> None:
    transaction.on_commit(lambda: wake(SERVICES_TOPIC), robust=True)


def find_service(actor: Actor, word: str, system_provider_id: uuid.UUID | None = None) -> Service:
    """The service with that id or name which `actor` may see. A name means the one of that system provider: the
    actor's own, or for an operator who names none the one of the whole installation. Raises Problem `not_found`."""
    rows = Service.objects.select_related("system_provider").visible_to(actor)
    key = parse_id(word)
    if key is not None:
        rows = rows.filter(pk=key)
    elif actor.actor_level == "operator" or system_provider_id is not None:
        rows = rows.filter(name=word, system_provider=system_provider_id)
    else:
        rows = rows.filter(name=word)
    found = rows.first()
    if found is None:
        raise not_found("Service")
    return found


def is_alive(row: Service) -> bool:
    """Whether it runs, and was heard of lately."""
    return row.actual == "running" and row.seen_at is not None and row.seen_at > clock.now() - SILENT_AFTER


def standing_of(row: Service) -> Standing:
    """What the row says, unless its worker has fallen silent: nobody is left to say that it has ended."""
    if row.actual == "running" and not is_alive(row):
        return Standing("failed", "It has not been heard of. Is its worker running?")
    if row.desired == "running" and row.actual == "stopped" and not row.detail:
        return Standing("stopped", "No worker has started it yet.")
    return Standing(row.actual, row.detail)


def holdings() -> list[Holding]:
    """Who has which lease now, those of one kind and worker together. Only operators are to see it: workers serve all
    tenants."""
    found: dict[tuple[str, str], list[Lease]] = defaultdict(list)
    for lease in Lease.objects.filter(living()).order_by("name"):
        found[lease.name.partition(":")[0], lease.holder].append(lease)
    parts = {lease.name: lease.name.partition(":")[2] for rows in found.values() for lease in rows}
    providers = SystemProvider.objects.in_bulk(filter(None, map(parse_id, parts.values())))
    return [
        Holding(
            title=title_of(kind),
            parts=_parts((parts[lease.name] for lease in rows), holder, providers),
            worker=worker_of(holder),
            holder=holder,
            since=max(filter(None, (lease.held_since for lease in rows)), default=None),
        )
        for (kind, holder), rows in sorted(found.items())
    ]


def worker_of(holder: str) -> str:
    """The machine and the process of a holder's name, which has more in it to be the only one."""
    host, _, rest = holder.partition(":")
    process = rest.partition(":")[0]
    return f"{host}, process {process}" if process else host


def _parts(names: Iterable[str], holder: str, providers: Mapping[uuid.UUID, SystemProvider]) -> str:
    """What tells leases of one kind apart: ranges of numbers, names of system providers. Other ids, such as a worker's
    own name, say nothing to a reader."""
    given = [name for name in names if name not in ("", holder)]
    keys = {name: parse_id(name) for name in given if not name.isdigit()}
    words = [str(providers[key]) if key else name for name, key in keys.items() if key is None or key in providers]
    return ", ".join([*_ranges(int(name) for name in given if name.isdigit()), *sorted(words)])


def _ranges(numbers: Iterable[int]) -> list[str]:
    """`0–7`, `12`."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return [f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in found]
