"""Who writes to whom: one conversation for the same people, whatever platform carries the messages (S0.2, S0.36)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Mapping

from portal.models import UserSettings
from xmpp.models import ImConversation, ImParticipant

# One side of a conversation of two: a user of ours, or the bare JID of somebody else.
Party = uuid.UUID | str
Pair = tuple[uuid.UUID, Party]


def pair_key(one: Party, other: Party) -> str:
    """The key of the conversation of these two, whoever asks."""
    names = sorted(f"u:{party}" if isinstance(party, uuid.UUID) else f"j:{party}" for party in (one, other))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def lock_conversations(pairs: Collection[Pair]) -> dict[Pair, ImConversation]:
    """The conversations of these twos, made where there is none, locked until the caller's transaction ends.

    Always locked in the order of their ids, so that nobody waits for each other.
    """
    keys = {pair: pair_key(*pair) for pair in pairs}
    known = set(ImConversation.objects.filter(key__in=set(keys.values())).values_list("key", flat=True))
    missing = {key: pair for pair, key in keys.items() if key not in known}
    if missing:
        _create(missing)
    rows = ImConversation.objects.filter(key__in=set(keys.values())).order_by("pk").select_for_update(no_key=True)
    by_key = {row.key: row for row in rows}
    return {pair: by_key[key] for pair, key in keys.items()}


def _create(missing: Mapping[str, Pair]) -> None:
    rows = [ImConversation(key=key) for key in sorted(missing)]
    ImConversation.objects.bulk_create(rows, ignore_conflicts=True)
    made = {row.key: row for row in ImConversation.objects.filter(key__in=list(missing))}
    undocked = _undocked({party for pair in missing.values() for party in pair if isinstance(party, uuid.UUID)})
    participants = [
        ImParticipant(conversation=made[key], docked=party not in undocked, **_columns(party))
        for key, pair in missing.items()
        for party in pair
    ]
    ImParticipant.objects.bulk_create(participants, ignore_conflicts=True)


def _columns(party: Party) -> dict[str, object]:
    return {"user_id": party} if isinstance(party, uuid.UUID) else {"jid": party}


def _undocked(user_ids: Iterable[uuid.UUID]) -> set[Party]:
    """Those who want their conversations to begin undocked."""
    return set(UserSettings.objects.filter(pk__in=list(user_ids), im_docked=False).values_list("pk", flat=True))
