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

# What is wanted: a user, that user's group and system provider, a number. Joined pair by pair, each arm is one probe of
# an index for each. The last arm has the servers that may be asked, by user.
_ARRAYS = "SELECT * FROM unnest(%(users)s::uuid[], %(groups)s::uuid[], %(providers)s::uuid[], %(numbers)s::text[])"
_OF_GROUP = "d.group_id = w.group_id"
_OF_PROVIDER = "d.group_id IS NULL AND d.system_provider_id = w.provider_id"
_IN_DIRECTORY = """
    SELECT w.user_id, n.number, c.name, c.source, n.type
    FROM wanted w JOIN portal_directory d ON {scope}
    JOIN portal_contactnumber n ON n.book = d.id AND n.number = w.number JOIN portal_contact c ON c.id = n.contact_id
"""
_FOUND = """
    SELECT w.user_id, f.number, f.name, d.kind, f.type
    FROM wanted w JOIN portal_directory d ON {scope} AND d.kind IN ('ldap', 'sql')
    JOIN portal_foundname f ON f.directory_id = d.id AND f.number = w.number AND f.expires_at > %(now)s
"""
_ASKED = """
    SELECT DISTINCT w.user_id, '', CAST(d.id AS VARCHAR(36)), '', ''
    FROM wanted w JOIN portal_directory d ON {scope} AND d.kind IN ('ldap', 'sql')
"""
_KNOWN = """
    WITH wanted (user_id, group_id, provider_id, number) AS ({wanted})
    SELECT w.user_id, n.number, c.name, c.source, n.type
    FROM wanted w JOIN portal_contactnumber n ON n.book = w.user_id AND n.number = w.number
    JOIN portal_contact c ON c.id = n.contact_id
    UNION ALL
    SELECT w.user_id, u.mobile, u.name, 'group', 'mobile'
    FROM wanted w JOIN portal_enduser u ON u.group_id = w.group_id AND u.mobile = w.number AND u.is_active
    UNION ALL
    SELECT w.user_id, u.mobile, u.name, 'enterprise', 'mobile'
    FROM wanted w JOIN portal_group mine ON mine.id = w.group_id AND mine.enterprise <> ''
    JOIN portal_group g ON g.reseller_id = mine.reseller_id AND g.enterprise = mine.enterprise AND g.enterprise <> ''
    JOIN portal_enduser u ON u.group_id = g.id AND u.mobile = w.number AND u.is_active AND g.id <> mine.id
"""
_ARMS = [arm.format(scope=scope) for arm in (_IN_DIRECTORY, _FOUND, _ASKED) for scope in (_OF_GROUP, _OF_PROVIDER)]
_STATEMENT = " UNION ALL ".join([_KNOWN, *_ARMS])


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
    for user_id, number, name, source, type in _read(wanted):
        if number:
            found[as_uuid(user_id), number].append(Known(name, source, type))
        else:
            asked[as_uuid(user_id)].append(as_uuid(name))
    for user_id, number, holder in _holders(wanted):
        found[user_id, number].append(holder)
    names, unknown = {}, []
    for user, number in wanted:
        known = found.get((user.pk, number), [])
        named = [one for one in known if one.name]
        if named:
            names[user.pk, number] = min(named, key=lambda one: RANK[one.source])
        elif asked and not known and number.startswith("+"):
            unknown += [(key, number, user.pk) for key in asked.get(user.pk, ())]
    if unknown:
        _note(unknown)
    return names


def _read(wanted: Sequence[tuple[Viewer, str]]) -> list[tuple[Any, ...]]:
    rows = [(user.pk, user.group_id, user.system_provider_id, number) for user, number in wanted]
    if connection.vendor == "postgresql":
        users, groups, providers, numbers = (list(column) for column in zip(*rows, strict=True))
        lists = {"users": users, "groups": groups, "providers": providers, "numbers": numbers}
        return execute_prepared(_STATEMENT.replace("{wanted}", _ARRAYS), {**lists, "now": clock.now()})
    values = {f"v{n}_{place}": value for n, row in enumerate(rows) for place, value in enumerate(row)}
    lines = ", ".join(f"({', '.join(f'%(v{n}_{place})s' for place in range(4))})" for n in range(len(rows)))
    return execute(_STATEMENT.replace("{wanted}", f"VALUES {lines}"), {**values, "now": clock.now()})


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
    expired = FoundName.objects.filter(due_at__isnull=True, expires_at__lte=now)
    for user in {user_id for *_, user_id in unknown}:
        seen = [(key, number) for key, number, user_id in unknown if user_id == user]
        keys, numbers = map(set, zip(*seen, strict=True))
        expired.filter(directory_id__in=keys, number__in=numbers).update(due_at=now, wanted_by=user)
    run_soon(ASK_TASK)
