"""The rows that received messages become, written for a whole batch by one statement each (facts: 0.2 of the server's
own ceiling leaves no room for a statement a message)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import connection

from portal.sql import execute_planned, table_of
from xmpp.models import ImMessage
from xmpp.services.ownership import HELD_SQL, held_values

# Conversation, user, newest message, how many they received, and the newest of these.
Activity = tuple[uuid.UUID, uuid.UUID, datetime, int, datetime | None]

_MESSAGE = {
    "id": "uuid",
    "created_at": "timestamptz",
    "conversation_id": "uuid",
    "sender_id": "uuid",
    "sender_jid": "text",
    "text": "text",
    "origin_id": "text",
    "at": "timestamptz",
    "via": "text",
    "status": "text",
}
_INSERT_MESSAGES = """
    WITH {rows}
    INSERT INTO xmpp_immessage ({columns}, client_id, via_own, via_xmpp, only_sender, error)
    SELECT {columns}, '', false, true, false, '' FROM rows
"""
_INSERT_ARCHIVED = """
    WITH {rows}
    INSERT INTO xmpp_archivedstanza (account_id, stanza_id, message_id)
    SELECT account_id, stanza_id, message_id FROM rows WHERE true
    ON CONFLICT (account_id, stanza_id) DO NOTHING
"""
_RAISE = """
    WITH {rows}
    UPDATE xmpp_imparticipant AS p SET
        new_count = p.new_count + rows.received,
        last_received_at = {greater_received},
        last_message_at = {greater_message}
    FROM rows WHERE p.conversation_id = rows.conversation_id AND p.user_id = rows.user_id
"""
_NOTE_RECEIVED = """
    WITH {rows}
    UPDATE xmpp_impaccount AS a SET last_message_received_at = {greater}
    FROM rows WHERE a.user_id = rows.user_id
"""
_NOTE_CURSORS = f"""
    WITH {{rows}}
    UPDATE xmpp_impaccount AS a SET archive_cursor = rows.stanza_id
    FROM rows WHERE a.user_id = rows.user_id AND {HELD_SQL}
"""  # noqa: S608 - made of constants
_LOCK_ACCOUNTS = """
    WITH {rows}
    SELECT a.user_id FROM xmpp_impaccount a JOIN rows ON a.user_id = rows.user_id ORDER BY a.user_id
    FOR NO KEY UPDATE OF a
"""


def insert_messages(messages: Sequence[ImMessage]) -> None:
    """Write messages that came by XMPP."""
    if messages:
        rows = [tuple(getattr(message, name) for name in _MESSAGE) for message in messages]
        table, values = table_of("rows", _MESSAGE, rows)
        execute_planned(_INSERT_MESSAGES.format(rows=table, columns=", ".join(_MESSAGE)), values)


def insert_archived(rows: Sequence[tuple[uuid.UUID, str, uuid.UUID]]) -> None:
    """Account, the id its archive gave, and the message; what is known already stays as it is."""
    if rows:
        table, values = table_of("rows", {"account_id": "uuid", "stanza_id": "text", "message_id": "uuid"}, rows)
        execute_planned(_INSERT_ARCHIVED.format(rows=table), values)


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
    keys = sorted({*received, *cursors})
    if keys and connection.vendor == "postgresql":
        table, values = table_of("rows", {"user_id": "uuid"}, [(key,) for key in keys])
        execute_planned(_LOCK_ACCOUNTS.format(rows=table), values)
    if received:
        table, values = table_of("rows", {"user_id": "uuid", "at": "timestamptz"}, list(received.items()))
        execute_planned(
            _NOTE_RECEIVED.format(rows=table, greater=_greater("a.last_message_received_at", "rows.at")), values
        )
    if cursors:
        table, values = table_of("rows", {"user_id": "uuid", "stanza_id": "text"}, list(cursors.items()))
        execute_planned(_NOTE_CURSORS.format(rows=table), {**values, **held_values(holder)})


def _greater(old: str, new: str) -> str:
    """The later of two times, either of which may be null."""
    return f"CASE WHEN {old} IS NULL OR {new} > {old} THEN {new} ELSE {old} END"
