"""The message log: every text of a scope, newest first, narrowed by filters (S1.55, R40).

A page is found by its ids first, each kind of filter through the index made for it, several ordered ranges merged; so
it costs the same however many texts there are. Only a search in the texts reads more, and is bounded by its span. Texts
that came to no number of ours stand among the others, for the levels that see platforms.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Right

from cpaas.models import Conversation, CpaasNumber, Message, WebhookEvent
from cpaas.segments import count_segments
from cpaas.services.log_pages import Branch, Unassigned, Window, like, page_ids
from cpaas.states import INBOUND, OUTBOUND
from portal import clock
from portal.models import PortalAccount, SystemProvider
from portal.problems import conflict, invalid, not_found
from portal.scoping import TenantQuerySet
from portal.services import audit

UNASSIGNED = "unassigned"
DEFAULT_SPAN = timedelta(days=7)
LONGEST_SPAN = timedelta(days=90)
# No text is older, and a span cannot begin before the year 1.
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
# A search by number takes the texts of so many numbers or conversations; longer ones narrow it.
MOST_PARTIES = 200
SHORTEST_ENDING = 4
_SEPARATORS = re.compile(r"[\s().+\-]")
_SCOPES = ("user", "group", "reseller", "system_provider")
Entry = Message | WebhookEvent


@dataclass(frozen=True)
class LogFilter:
    """What is looked for; what is left out narrows nothing.

    `sender` and `recipient` are numbers, whole or their last digits (≥ 4). `scope` maps a level, user included, to its
    id. `after` is the first time that counts, `before` the first that does not any more (UTC).
    """

    sender: str = ""
    recipient: str = ""
    after: datetime | None = None
    before: datetime | None = None
    text: str = ""
    status: str = ""
    direction: str = ""
    number_id: uuid.UUID | None = None
    scope: tuple[tuple[str, uuid.UUID], ...] = ()

    @property
    def statuses(self) -> tuple[str, ...]:
        """The states of messages that fit status and direction."""
        directed = {"in": INBOUND, "out": OUTBOUND}.get(self.direction, OUTBOUND + INBOUND)
        return tuple(status for status in directed if self.status in ("", status))

    @property
    def takes_unassigned(self) -> bool:
        """Whether texts that came to no number of ours may fit: they are a system provider's and nobody's below."""
        below = self.number_id or any(level != "system_provider" for level, _ in self.scope)
        return not below and self.direction != "out" and self.status in ("", UNASSIGNED)

    def is_in_scope(self, message: Message) -> bool:
        """Whether the message is of all levels that were asked for; only the lowest of them was looked through."""
        return all(getattr(message, f"{level}_id") == key for level, key in self.scope)


@dataclass(frozen=True)
class Found:
    """Entries of the log in the order they were asked for; `is_cut`: more numbers fit than are looked at."""

    entries: list[Entry]
    is_cut: bool = False


def may_read_texts(actor: PortalAccount) -> bool:
    """Whether the account sees what texts say: not below a system provider that does not want it (S1.57)."""
    if actor.level in ("operator", "system_provider"):
        return True
    provider = actor.system_provider
    return provider is not None and provider.staff_may_read_messages


def check_filter(actor: PortalAccount, wanted: LogFilter) -> LogFilter:
    """The filter as it is carried out: a search in texts gets its span.

    Raises Problem `invalid` (a span that is too long or turned round, an ending that is too short) and `not_readable`.
    """
    for name, ending in (("from", wanted.sender), ("to", wanted.recipient)):
        if ending and not _key(ending):
            raise invalid(**{name: "Give a number, or at least its last four digits."})
    if wanted.after and wanted.before and wanted.after >= wanted.before:
        raise invalid(before="The end must be later than the start.")
    if not wanted.text:
        return wanted
    if not may_read_texts(actor):
        raise conflict(
            "not_readable",
            "Your system provider does not let resellers and groups read messages, so they cannot be searched.",
        )
    # To the next minute: the page that is turned to next must look in the same span.
    end = wanted.before or clock.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
    begin = wanted.after or max(end, _EVER) - DEFAULT_SPAN
    if end - begin > LONGEST_SPAN:
        raise invalid(text=f"Texts can be searched over at most {LONGEST_SPAN.days} days. Narrow the dates.")
    return replace(wanted, after=begin, before=wanted.before)


def find_entries(
    *, actor: PortalAccount, wanted: LogFilter, beyond: uuid.UUID | None = None, backward: bool = False, count: int
) -> Found:
    """`count` entries that `actor` may see, newest first from below `beyond`, or `backward` oldest first from above it.

    `wanted` comes from `check_filter`.
    """
    window = Window(wanted.after, wanted.before, wanted.text, beyond, backward, count)
    branches, is_cut = _branches(actor, wanted)
    if wanted.takes_unassigned and actor.level in ("operator", "system_provider"):
        branches.append(_unassigned(actor, wanted))
    message_keys, call_keys = page_ids(branches, window)
    entries: list[Entry] = []
    if message_keys:
        # Sliced, so that PostgreSQL begins with these ids and not with the level.
        page = Message.objects.filter(pk__among=message_keys).order_by("pk")[: len(message_keys)]
        messages = Message.objects.visible_to(actor).filter(pk__in=page.values("pk"))
        rows = messages.select_related("number__platform", "user")
        entries += [message for message in rows if wanted.is_in_scope(message)]
    if call_keys:
        calls = WebhookEvent.objects.visible_to(actor).filter(pk__in=call_keys).select_related("platform")
        entries += calls.defer("body")
    entries.sort(key=lambda entry: entry.pk, reverse=not backward)
    return Found(entries[:count], is_cut)


def find_entry(*, actor: PortalAccount, key: uuid.UUID | None) -> Entry:
    """One entry that `actor` may see. Raises Problem `not_found`."""
    messages = Message.objects.visible_to(actor).select_related("number__platform", "user", "conversation")
    calls = WebhookEvent.objects.visible_to(actor).filter(state=UNASSIGNED).select_related("platform")
    found: Entry | None = messages.filter(pk=key).first() or calls.filter(pk=key).first() if key else None
    if found is None:
        raise not_found("Message")
    return found


def open_entry(*, actor: PortalAccount, key: uuid.UUID | None) -> Entry:
    """One entry that `actor` may see; who opened which text of which number is recorded. Raises Problem `not_found`."""
    entry = find_entry(actor=actor, key=key)
    after = {"message": str(entry.pk)}
    if isinstance(entry, Message):
        audit.record(actor, "open_message", entry.number, after=after)
    else:
        audit.record(actor, "open_message", entry.platform, after={**after, "number": entry.recipient})
    return entry


def note_reading(*, actor: PortalAccount, wanted: LogFilter, entries: Sequence[Entry]) -> None:
    """Record that texts were handed out wholesale: who, and of which number or scope. Not what was searched for."""
    if not entries or not may_read_texts(actor):
        return
    first = entries[0]
    of_number = first.number if wanted.number_id and isinstance(first, Message) else None
    after = {"messages": len(entries), **_asked(wanted)}
    audit.record(actor, "read_messages", of_number or actor, after=after)


def note_export(*, actor: PortalAccount, wanted: LogFilter) -> None:
    """Record that the log is written into a file: who, and of which number or scope."""
    number = CpaasNumber.objects.visible_to(actor).filter(pk=wanted.number_id).first() if wanted.number_id else None
    audit.record(actor, "export_messages", number or actor, after=_asked(wanted))


def _asked(wanted: LogFilter) -> dict[str, str]:
    """What was asked for, but the words that were searched for (R18)."""
    times = {"after": clock.iso(wanted.after), "before": clock.iso(wanted.before)}
    parties = {"from": wanted.sender, "to": wanted.recipient}
    asked = {**{level: str(key) for level, key in wanted.scope}, **parties, **times}
    return {name: value for name, value in asked.items() if value}


def counted(text: str) -> dict[str, Any]:
    """Alphabet, segments and characters of a text that is no message yet."""
    found = count_segments(text)
    return {
        "encoding": found.encoding,
        "segments": found.segments,
        "characters": found.characters,
        "price_segments": found.segments,
    }


def _branches(actor: PortalAccount, wanted: LogFilter) -> tuple[list[Branch | Unassigned], bool]:
    """The ordered ranges of messages that together are the log, and whether some had to be left out."""
    statuses = wanted.statuses
    if not statuses:
        return [], False
    if not (wanted.sender or wanted.recipient):
        return _of_scope(actor, wanted, statuses)
    found: list[Branch | Unassigned] = []
    cut = False
    # A text that came in was sent to an own number by a remote party, one that went out the other way round.
    for remote, own, directed in (
        (wanted.sender, wanted.recipient, INBOUND),
        (wanted.recipient, wanted.sender, OUTBOUND),
    ):
        words = tuple(status for status in statuses if status in directed)
        if words:
            branch, is_cut = _of_parties(actor, wanted, remote, own, words)
            found.append(branch)
            cut |= is_cut
    return found, cut


def _of_scope(
    actor: PortalAccount, wanted: LogFilter, statuses: tuple[str, ...]
) -> tuple[list[Branch | Unassigned], bool]:
    level, key = _narrowest(actor, wanted)
    if wanted.number_id or level == "user":
        numbers, cut = _first(_numbers(actor, wanted).order_by("-id"))
        return [Branch("number_id", numbers, statuses)], cut
    if key is not None:
        return [Branch(f"{level}_id", [key], statuses)], False
    if statuses == OUTBOUND + INBOUND and not wanted.text:
        return [Branch("", [], statuses)], False
    providers = list(SystemProvider.objects.visible_to(actor).values_list("pk", flat=True))
    return [Branch("system_provider_id", providers, statuses)], False


def _of_parties(
    actor: PortalAccount, wanted: LogFilter, remote: str, own: str, statuses: tuple[str, ...]
) -> tuple[Branch, bool]:
    """By the ends of the conversations: those with such a remote party, else all of such own numbers."""
    numbers = _numbers(actor, wanted)
    if own:
        numbers = _ending(numbers, "number", own)
    if not remote:
        keys, cut = _first(numbers.order_by("-id"))
        return Branch("number_id", keys, statuses), cut
    conversations = _ending(Conversation.objects.visible_to(actor), "remote", remote)
    if own or wanted.number_id or wanted.scope:
        conversations = conversations.filter(number__in=numbers)
    keys, cut = _first(conversations.order_by("-last_message_at"))
    return Branch("conversation_id", keys, statuses), cut


def _narrowest(actor: PortalAccount, wanted: LogFilter) -> tuple[str, uuid.UUID | None]:
    """The lowest level that is looked at: the actor's own, or one that is asked for."""
    asked = dict(wanted.scope)
    level = next((level for level in _SCOPES if level in asked), None)
    own = _SCOPES.index(actor.level) if actor.level in _SCOPES else len(_SCOPES)
    if level is not None and _SCOPES.index(level) <= own:
        return level, asked[level]
    return actor.level, actor.actor_scope_id


def _numbers(actor: PortalAccount, wanted: LogFilter) -> TenantQuerySet[CpaasNumber]:
    """The own numbers that are looked at."""
    chosen: dict[str, Any] = {f"{level}_id": key for level, key in wanted.scope}
    if wanted.number_id:
        chosen["pk"] = wanted.number_id
    return CpaasNumber.objects.visible_to(actor).filter(**chosen)


def _ending(rows: TenantQuerySet[Any], column: str, term: str) -> TenantQuerySet[Any]:
    """Those whose number is `term` or ends so, through the index on the last four."""
    digits = _digits(term)
    fits = Q(**{column: term.strip()})
    if digits:
        fits |= Q(**{f"{column}__in": [digits, f"+{digits}"]})
        if len(digits) >= SHORTEST_ENDING:
            fits |= Q(**{f"{column}__endswith": digits})
    return rows.annotate(last_four=Right(column, 4)).filter(fits, last_four=_key(term))


def _digits(term: str) -> str:
    """The digits of what was typed as a number, "" when it is none (a sender may be a name)."""
    plain = _SEPARATORS.sub("", term)
    return plain if plain.isascii() and plain.isdigit() else ""


def _key(term: str) -> str:
    """The last four characters of a number or name, as the index has them; "" when nothing can be looked for."""
    digits = _digits(term)
    if digits:
        return digits[-4:] if len(digits) > 2 else ""
    return term.strip()[-4:]


def _first(rows: Any) -> tuple[list[uuid.UUID], bool]:
    """The first ids, and whether there are more than are taken."""
    keys = list(rows.values_list("pk", flat=True)[: MOST_PARTIES + 1])
    return keys[:MOST_PARTIES], len(keys) > MOST_PARTIES


def _unassigned(actor: PortalAccount, wanted: LogFilter) -> Unassigned:
    parties = {"sender": _pattern(wanted.sender), "recipient": _pattern(wanted.recipient)}
    asked = dict(wanted.scope).get("system_provider")
    own = actor.actor_scope_id
    return Unassigned(parties, providers={key for key in (own, asked) if key})


def _pattern(term: str) -> str:
    """The end of a number as a LIKE pattern, "" when it does not matter."""
    if not term:
        return ""
    digits = _digits(term)
    return f"%{digits}" if len(digits) >= SHORTEST_ENDING else f"%{like(digits or term.strip())}"
