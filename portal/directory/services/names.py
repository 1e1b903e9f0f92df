"""Names for the numbers that users see in conversations: what any directory knows, the best one first (S1.34, S1.35).

What is stored is read by one statement for many users at once. LDAP and SQL servers are never waited for: a number
nobody knows is noted, asked for by a task, and what they said is kept for a while.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Q

from portal import clock, extensions
from portal.background import run_soon
from portal.directory.entries import RANK
from portal.directory.models import FoundName, NumberType, Source
from portal.events import Viewer
from portal.models import Group
from portal.sql import as_uuid, execute, execute_prepared

ASK_TASK = "portal.tasks.ask_directories"

# Scope, number, name, source, type of the number. The scope is the user, group or system provider that knows it.
_IN_SCOPE = "(d.group_id {groups} OR (d.group_id IS NULL AND d.system_provider_id {providers}))"
_KNOWN = f"""
    SELECT n.book, n.number, c.name, c.source, n.type
    FROM portal_contactnumber n JOIN portal_contact c ON c.id = n.contact_id
    WHERE n.book {{users}} AND n.number {{numbers}}
    UNION ALL
    SELECT COALESCE(d.group_id, d.system_provider_id), n.number, c.name, c.source, n.type
    FROM portal_directory d JOIN portal_contactnumber n ON n.book = d.id JOIN portal_contact c ON c.id = n.contact_id
    WHERE {_IN_SCOPE} AND n.number {{numbers}}
    UNION ALL
    SELECT u.group_id, u.mobile, u.name, 'group', 'mobile'
    FROM portal_enduser u WHERE u.group_id {{groups}} AND u.mobile {{numbers}} AND u.is_active
    UNION ALL
    SELECT mine.id, u.mobile, u.name, 'enterprise', 'mobile'
    FROM portal_group mine
    JOIN portal_group g ON g.reseller_id = mine.reseller_id AND g.enterprise = mine.enterprise AND g.id <> mine.id
    JOIN portal_enduser u ON u.group_id = g.id
    WHERE mine.id {{groups}} AND mine.enterprise <> '' AND g.enterprise <> '' AND u.mobile {{numbers}} AND u.is_active
    UNION ALL
    SELECT COALESCE(d.group_id, d.system_provider_id), f.number, f.name, d.kind, f.type
    FROM portal_directory d JOIN portal_foundname f ON f.directory_id = d.id
    WHERE d.kind IN ('ldap', 'sql') AND {_IN_SCOPE} AND f.number {{numbers}} AND f.expires_at > %(now)s
    UNION ALL
    SELECT COALESCE(d.group_id, d.system_provider_id), '', CAST(d.id AS VARCHAR(36)), '', ''
    FROM portal_directory d WHERE d.kind IN ('ldap', 'sql') AND {_IN_SCOPE}
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class Known:
    """What a directory calls a number. `type` is the kind of number it says it is."""

    name: str
    source: str
    type: str = NumberType.OTHER


Names = dict[tuple[uuid.UUID, str], Known]


def known_names(seen: Iterable[tuple[Viewer, str]]) -> Names:
    """The best name for each remote number that these users see, by user and number (S1.34).

    Numbers that only a server may know are left to a task, which tells the user when it has found a name.
    """
    wanted = list(dict.fromkeys(seen))
    if not wanted:
        return {}
    found: dict[tuple[uuid.UUID, str], list[Known]] = defaultdict(list)
    asked: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for scope, number, name, source, type in _read(wanted):
        if number:
            found[as_uuid(scope), number].append(Known(name, source, type))
        else:
            asked[as_uuid(scope)].append(as_uuid(name))
    for user_id, number, holder in _holders(wanted):
        found[user_id, number].append(holder)
    names, unknown = {}, []
    for user, number in wanted:
        scopes = (user.pk, user.group_id, user.system_provider_id)
        known = [one for scope in scopes for one in found.get((scope, number), ())]
        named = [one for one in known if one.name]
        if named:
            names[user.pk, number] = min(named, key=lambda one: RANK[one.source])
        elif asked and not known and number.startswith("+"):
            unknown += [(key, number, user.pk) for scope in scopes[1:] for key in asked.get(scope, ())]
    if unknown:
        _note(unknown)
    return names


def _read(wanted: Sequence[tuple[Viewer, str]]) -> list[tuple[Any, ...]]:
    lists: dict[str, list[Any]] = {
        "users": list({user.pk for user, _ in wanted}),
        "groups": list({user.group_id for user, _ in wanted}),
        "providers": list({user.system_provider_id for user, _ in wanted}),
        "numbers": list({number for _, number in wanted}),
    }
    if connection.vendor == "postgresql":
        arrays = {name: f"= ANY(%({name})s)" for name in lists}
        return execute_prepared(_KNOWN.format(**arrays), {**lists, "now": clock.now()})
    named = {f"{name}{n}": value for name, values in lists.items() for n, value in enumerate(values)}
    places = {name: f"IN ({', '.join(f'%({name}{n})s' for n in range(len(values)))})" for name, values in lists.items()}
    return execute(_KNOWN.format(**places), {**named, "now": clock.now()})


def _holders(wanted: Sequence[tuple[Viewer, str]]) -> Iterable[tuple[uuid.UUID, str, Known]]:
    """Colleagues to whom an app assigned one of the numbers."""
    numbers = {number for _, number in wanted}
    holders = {holder.number: holder for find in extensions.number_holders for holder in find(numbers)}
    meant = [(user, holders[number]) for user, number in wanted if number in holders]
    strange = {user.group_id for user, holder in meant if holder.group_id != user.group_id}
    linked = _linked_groups(strange) if strange else {}
    for user, holder in meant:
        if holder.group_id == user.group_id:
            yield user.pk, holder.number, Known(holder.name, Source.GROUP, NumberType.WORK)
        elif holder.group_id in linked.get(user.group_id, ()):
            yield user.pk, holder.number, Known(holder.name, Source.ENTERPRISE, NumberType.WORK)


def _linked_groups(group_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, set[uuid.UUID]]:
    """The other groups of the enterprise of each of these (R42)."""
    own = list(Group.objects.filter(pk__in=group_ids).exclude(enterprise=""))
    if not own:
        return {}
    same = Q()
    for group in own:
        same |= Q(reseller_id=group.reseller_id, enterprise=group.enterprise)
    by_name: dict[tuple[uuid.UUID, str], set[uuid.UUID]] = defaultdict(set)
    for key, reseller, enterprise in Group.objects.filter(same).values_list("pk", "reseller_id", "enterprise"):
        by_name[reseller, enterprise].add(key)
    return {group.pk: by_name[group.reseller_id, group.enterprise] - {group.pk} for group in own}


def _note(unknown: Sequence[tuple[uuid.UUID, str, uuid.UUID]]) -> None:
    """Ask for these numbers soon; what was asked for before and has expired, again."""
    now = clock.now()
    rows = [
        FoundName(directory_id=key, number=number, wanted_by=user_id, due_at=now) for key, number, user_id in unknown
    ]
    FoundName.objects.bulk_create(rows, ignore_conflicts=True)
    numbers = {number for _, number, _ in unknown}
    expired = FoundName.objects.filter(directory_id__in={key for key, *_ in unknown}, number__in=numbers)
    expired.filter(due_at__isnull=True, expires_at__lte=now).update(due_at=now)
    run_soon(ASK_TASK)
