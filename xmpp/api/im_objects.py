"""Instant messages and their conversations as the end-user API and the event stream show them (contracts section 6)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from portal.clock import iso
from portal.directory.models import Contact
from portal.events import Viewer
from portal.models import UserSettings
from portal.services.organisation import organisations_of
from presence.merge import merge
from presence.objects import presence_object
from presence.services.reading import Shown, presences
from xmpp.models import ImMessage, ImParticipant, Subscription
from xmpp.presence_source import heard, report_of
from xmpp.services.jids import jids_of
from xmpp.services.seeing import last_messages

# What one user is shown of a JID that is no user's of the organisation.
_Names = dict[tuple[uuid.UUID, str], str]


def message_objects(seen: Iterable[tuple[uuid.UUID, ImMessage]]) -> list[dict[str, Any]]:
    """Messages as the users with these ids see them, in the given order; the messages come with their senders."""
    pairs = list(seen)
    jids = jids_of({row.sender_id for _, row in pairs if row.sender_id})
    names = _names_of_jids((viewer_id, row.sender_jid) for viewer_id, row in pairs if row.sender_id is None)
    return [_message(viewer_id, row, jids, names) for viewer_id, row in pairs]


def _message(viewer_id: uuid.UUID, row: ImMessage, jids: dict[uuid.UUID, str], names: _Names) -> dict[str, Any]:
    is_own = row.sender_id == viewer_id
    carried = (("own", row.via_own), ("xmpp", row.via_xmpp))
    return {
        "id": str(row.pk),
        "conversation": str(row.conversation_id),
        "direction": "out" if is_own else "in",
        "sender": _sender(viewer_id, row, jids, names),
        "platforms": [platform for platform, by_it in carried if by_it],
        "via": row.via,
        "text": row.text,
        "status": row.status,
        "error": row.error or None,
        "client_id": row.client_id or None if is_own else None,
        "at": iso(row.at),
    }


def _sender(viewer_id: uuid.UUID, row: ImMessage, jids: dict[uuid.UUID, str], names: _Names) -> dict[str, Any]:
    if row.sender is not None:
        return {"user": str(row.sender_id), "jid": jids.get(row.sender.pk), "name": str(row.sender)}
    jid = row.sender_jid
    return {"user": None, "jid": jid or None, "name": names.get((viewer_id, jid), jid)}


def conversation_objects(seen: Iterable[tuple[Viewer, ImParticipant]]) -> list[dict[str, Any]]:
    """Conversations as these users see them, each given as its row of that user, in the given order; as many queries
    for many as for one."""
    pairs = list(seen)
    others = _others(pairs)
    last = last_messages(row for _, row in pairs)
    with_last = [(viewer, row) for viewer, row in pairs if row.pk in last]
    shown = message_objects((viewer.pk, last[row.pk]) for viewer, row in with_last)
    shown_last = {row.pk: message for (_, row), message in zip(with_last, shown, strict=True)}
    return [
        {
            "id": str(row.conversation_id),
            "group": row.conversation.is_group,
            "participants": others[row.pk],
            "last_message_at": iso(row.last_message_at),
            "last_message_received_at": iso(row.last_received_at),
            "last_message": shown_last.get(row.pk),
            "new_count": row.new_count,
            "docked": row.docked,
        }
        for _, row in pairs
    ]


@dataclass(frozen=True)
class _People:
    """What is known of the people in some conversations, for all who look at them."""

    jids: dict[uuid.UUID, str]
    names: _Names
    priorities: dict[uuid.UUID, str]
    presences: dict[Any, Shown]
    heard: dict[tuple[uuid.UUID, str], Subscription]


def _others(pairs: Sequence[tuple[Viewer, ImParticipant]]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """The other people of each conversation, by the id of the viewer's row of it."""
    of_conversation: dict[uuid.UUID, list[ImParticipant]] = defaultdict(list)
    rows = ImParticipant.objects.filter(conversation__among={row.conversation_id for _, row in pairs})
    for other in rows.select_related("user").order_by("pk"):
        of_conversation[other.conversation_id].append(other)
    looks = [
        (viewer.pk, row, [other for other in of_conversation[row.conversation_id] if other.pk != row.pk])
        for viewer, row in pairs
    ]
    people = _people([(viewer_id, other) for viewer_id, _, others in looks for other in others])
    return {
        row.pk: [_participant(viewer_id, other, people, is_group=row.conversation.is_group) for other in others]
        for viewer_id, row, others in looks
    }


def _people(looks: Collection[tuple[uuid.UUID, ImParticipant]]) -> _People:
    viewer_ids = {viewer_id for viewer_id, _ in looks}
    users = {other.user.pk for _, other in looks if other.user is not None}
    homes = organisations_of({*viewer_ids, *users})
    in_sight = [
        (viewer_id, other.user.pk)
        for viewer_id, other in looks
        if other.user is not None and other.user.is_active and homes.get(other.user.pk) == homes.get(viewer_id)
    ]
    strangers = [(viewer_id, other.jid) for viewer_id, other in looks if other.jid]
    settings = UserSettings.objects.filter(pk__among=list(viewer_ids))
    return _People(
        jids=jids_of({*viewer_ids, *users}),
        names=_names_of_jids(strangers),
        priorities=dict(settings.values_list("pk", "im_priority")),
        presences=dict(presences({*in_sight})),
        heard=_heard_of_jids(strangers),
    )


def _participant(viewer_id: uuid.UUID, other: ImParticipant, people: _People, *, is_group: bool) -> dict[str, Any]:
    """One of the others: who it is, how the viewer's messages reach them (S0.37), and their presence."""
    user, shown = other.user, people.presences.get((viewer_id, other.user_id))
    jid = other.jid or (people.jids.get(shown.user_id, "") if shown else "")
    priority = people.priorities.get(viewer_id, "both")
    by_own = shown is not None and (is_group or priority != "xmpp")
    by_xmpp = bool(jid) and not is_group and priority != "own" and viewer_id in people.jids
    return {
        "user": str(user.pk) if user is not None else None,
        "jid": jid or None,
        "name": str(user) if user is not None else people.names.get((viewer_id, jid), jid),
        "platforms": [platform for platform, by_it in (("own", by_own), ("xmpp", by_xmpp)) if by_it],
        "presence": presence_object(shown) if shown else _presence_of_jid(people.heard.get((viewer_id, other.jid))),
    }


def _presence_of_jid(row: Subscription | None) -> dict[str, Any] | None:
    """Of who is no user of ours, what the viewer's own session hears."""
    if row is None:
        return None
    report = report_of(row)
    return {**presence_object(Shown(row.user_id, merge([report]), None, (report,))), "user": None}


def _heard_of_jids(looks: Iterable[tuple[uuid.UUID, str]]) -> dict[tuple[uuid.UUID, str], Subscription]:
    wanted = set(looks)
    if not wanted:
        return {}
    rows = heard().filter(user__among=[key for key, _ in wanted], jid__in={jid for _, jid in wanted})
    return {(row.user_id, row.jid): row for row in rows}


def _names_of_jids(looks: Iterable[tuple[uuid.UUID, str]]) -> _Names:
    """The names under which users have JIDs in their own contacts."""
    wanted = {(viewer_id, jid) for viewer_id, jid in looks if jid}
    if not wanted:
        return {}
    people = Contact.objects.exclude(jid="")
    rows = people.filter(user__among=[key for key, _ in wanted], jid__lower__in={jid for _, jid in wanted})
    found = rows.order_by("-pk").values_list("user_id", "jid", "name")
    return {(user_id, jid.lower()): name for user_id, jid, name in found if user_id is not None}
