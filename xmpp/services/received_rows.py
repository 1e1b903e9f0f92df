"""The rows that received messages become, read and written for a whole batch by one statement each (facts: 0.2 of the
server's own ceiling leaves no room for a statement a message)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from portal.sql import as_time, as_uuid, execute_for, execute_planned, table_of
from xmpp.models import ImMessage
from xmpp.services.ownership import HELD_SQL, held_values, lock_accounts

# Conversation, user, newest message, how many they received, and the newest of these.
Activity = tuple[uuid.UUID, uuid.UUID, datetime, int, datetime | None]


class Known(NamedTuple):
    """A stored message, as far as one tells it from others."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    sender_id: uuid.UUID | None
    sender_jid: str
    origin_id: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that came by XMPP: the columns of `ImMessage` that differ from one to the next."""

    id: uuid.UUID
    created_at: datetime
    conversation_id: uuid.UUID
    sender_id: uuid.UUID | None
    sender_jid: str
    text: str
    origin_id: str
    at: datetime
    via: str

    @property
    def known(self) -> Known:
        return Known(self.id, self.conversation_id, self.sender_id, self.sender_jid, self.origin_id, self.text, self.at)


_RECEIVED = {
    "id": "uuid",
    "created_at": "timestamptz",
    "conversation_id": "uuid",
    "sender_id": "uuid",
    "sender_jid": "text",
    "text": "text",
    "origin_id": "text",
    "at": "timestamptz",
    "via": "text",
}
_COLUMNS = ", ".join(_RECEIVED)
# Of what comes in it is known that it came.
_INSERT_RECEIVED = f"""
    WITH {{rows}}
    INSERT INTO xmpp_immessage ({_COLUMNS}, status, client_id, via_own, via_xmpp, only_sender, error)
    SELECT {_COLUMNS}, 'delivered', '', false, true, false, '' FROM rows
"""  # noqa: S608 - made of constants
_INSERT_ARCHIVED = """
    WITH {rows}
    INSERT INTO xmpp_archivedstanza (account_id, stanza_id, message_id)
    SELECT account_id, stanza_id, message_id FROM rows WHERE true
    ON CONFLICT (account_id, stanza_id) DO NOTHING
"""
# Each row is looked up by itself, in an index: a join planned while the tables were small would read all of them.
_FIND_ARCHIVED = """
    WITH {rows}
    SELECT account_id, stanza_id FROM rows WHERE (
        SELECT a.id FROM xmpp_archivedstanza a WHERE a.account_id = rows.account_id AND a.stanza_id = rows.stanza_id
    ) IS NOT NULL
"""
# What others sent is known by their id for it, what we sent by ours.
_FIND_KNOWN = """
    WITH {rows}
    SELECT
        (SELECT m.id FROM xmpp_immessage m WHERE m.conversation_id = rows.conversation_id
            AND m.sender_jid = rows.sender_jid AND m.origin_id = rows.origin_id AND m.origin_id <> ''),
        (SELECT m.id FROM xmpp_immessage m WHERE m.id = rows.message_id AND m.conversation_id = rows.conversation_id)
    FROM rows
"""
# Of two users both have it, but for who was not to see the last one (S0.34).
_NEWEST = """
    SELECT conversation_id, max(last_message_at) FROM xmpp_imparticipant
    WHERE conversation_id {among} AND last_message_at IS NOT NULL GROUP BY conversation_id
"""
_RAISE = """
    WITH {rows}
    UPDATE xmpp_imparticipant AS p SET
        new_count = p.new_count + rows.received,
        last_received_at = {greater_received},
        last_message_at = {greater_message}
    FROM rows WHERE p.conversation_id = rows.conversation_id AND p.user_id = rows.user_id
"""
_NOTE_ACCOUNTS = f"""
    WITH {{rows}}
    UPDATE xmpp_impaccount AS a SET
        last_message_received_at = {{greater}},
        archive_cursor = CASE WHEN rows.cursor <> '' AND {HELD_SQL} THEN rows.cursor ELSE a.archive_cursor END
    FROM rows WHERE a.user_id = rows.user_id
"""  # noqa: S608 - made of constants


def find_archived(keys: Iterable[tuple[uuid.UUID, str]]) -> set[tuple[uuid.UUID, str]]:
    """Those of these (account, id of its archive) of which the archive has told before."""
    table, values = table_of("rows", {"account_id": "uuid", "stanza_id": "text"}, list(keys))
    found = execute_planned(_FIND_ARCHIVED.format(rows=table), values)
    return {(as_uuid(account_id), stanza_id) for account_id, stanza_id in found}


def find_known(rows: Iterable[tuple[uuid.UUID, str, str, uuid.UUID | None]]) -> list[Known]:
    """The stored ones of these: conversation, sender's JID, the sender's id, and that id as ours if it could be one."""
    columns = {"conversation_id": "uuid", "sender_jid": "text", "origin_id": "text", "message_id": "uuid"}
    table, values = table_of("rows", columns, list(rows))
    found = execute_planned(_FIND_KNOWN.format(rows=table), values)
    ids = {as_uuid(key) for row in found for key in row if key is not None}
    rows_of_known = ImMessage.objects.filter(pk__among=ids).values_list(*Known._fields)
    return [Known(*row) for row in rows_of_known] if ids else []


def insert_messages(messages: Sequence[Incoming]) -> None:
    """Write messages that came by XMPP."""
    if messages:
        rows = [tuple(getattr(message, name) for name in _RECEIVED) for message in messages]
        table, values = table_of("rows", _RECEIVED, rows)
        execute_planned(_INSERT_RECEIVED.format(rows=table), values)


def insert_archived(rows: Sequence[tuple[uuid.UUID, str, uuid.UUID]]) -> None:
    """Account, the id its archive gave, and the message; what is known already stays as it is."""
    if rows:
        table, values = table_of("rows", {"account_id": "uuid", "stanza_id": "text", "message_id": "uuid"}, rows)
        execute_planned(_INSERT_ARCHIVED.format(rows=table), values)


def newest_of(conversation_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    """When the last message of each of these conversations was sent."""
    rows = execute_for(_NEWEST, conversation_ids, {}) if conversation_ids else []
    return {as_uuid(key): as_time(at) for key, at in rows}


def raise_participants(rows: Sequence[Activity]) -> None:
    """Put conversations up in the lists of their users, and count what is new to them."""
    if not rows:
        return
    columns = {"conversation_id": "uuid", "user_id": "uuid", "newest": "timestamptz", "received": "integer"}
    table, values = table_of("rows", {**columns, "last_received": "timestamptz"}, rows)
    received = _greater("p.last_received_at", "rows.last_received")
    newest = _greater("p.last_message_at", "rows.newest")
    execute_planned(_RAISE.format(rows=table, greater_received=received, greater_message=newest), values)


def note_accounts(received: Mapping[uuid.UUID, datetime], cursors: Mapping[uuid.UUID, str], holder: str) -> None:
    """When accounts received something last, and how far their archives are known, as far as `holder` acts for them."""
    keys = {*received, *cursors}
    if not keys:
        return
    lock_accounts(keys)
    rows = [(key, received.get(key), cursors.get(key, "")) for key in keys]
    table, values = table_of("rows", {"user_id": "uuid", "at": "timestamptz", "cursor": "text"}, rows)
    greater = _greater("a.last_message_received_at", "rows.at")
    execute_planned(_NOTE_ACCOUNTS.format(rows=table, greater=greater), {**values, **held_values(holder)})


def _greater(old: str, new: str) -> str:
    """The later of two times, either of which may be null."""
    return f"CASE WHEN {old} IS NULL OR {new} > {old} THEN {new} ELSE {old} END"
