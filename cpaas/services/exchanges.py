"""What was said between us and a carrier about an attempt: kept with its outcome, without secrets (S1.57)."""

from __future__ import annotations

import html
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from urllib.parse import unquote_plus

from django.db import connection

from cpaas.carriers.base import CarrierAccount
from cpaas.models import Exchange
from cpaas.transport import Trace
from portal import clock
from portal.ids import first_id_at, new_id
from portal.sql import execute_prepared

LONGEST_EXCERPT = 500
# Longer than any text, however it is escaped: one that is cut would not be found, and its beginning kept.
_READ = 64 * 1024
# A word this short stands in every answer.
_SHORTEST_TEXT = 4
# So much of a text's beginning gives it away, when a carrier quotes it cut, or escapes it in a way of its own.
_BEGINNING = 30
_ESCAPED = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
# As a server that shows what it was asked quotes our credentials.
_BASIC = re.compile(r"\bBasic\s+[A-Za-z0-9+/=]{8,}", re.IGNORECASE)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_STORE = """
    INSERT INTO cpaas_exchange (id, created_at, attempt_id, method, url, status, excerpt, error, took_ms)
    SELECT s.id, $1, s.attempt_id, s.method, s.url, s.status, s.excerpt, s.error, s.took_ms
    FROM json_to_recordset($2) AS s (
        id uuid, attempt_id uuid, method text, url text, status int2, excerpt text, error text, took_ms int4
    )
    WHERE EXISTS (SELECT 1 FROM cpaas_attempt a WHERE a.id = s.attempt_id)
"""


@dataclass(frozen=True)
class Said:
    """One request and its answer, as they are kept."""

    method: str
    url: str
    status: int | None
    excerpt: str
    error: str
    took_ms: int


def said(traces: Iterable[Trace], account: CarrierAccount, text: str) -> tuple[Said, ...]:
    """What may be kept of these exchanges: neither a credential nor the text of the message."""
    hidden = [value for value in account.credentials.values() if value]
    if len(text) >= _SHORTEST_TEXT:
        hidden += {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        hidden += {html.escape(text), html.escape(text, quote=False)}
    return tuple(
        Said(
            method=trace.request.method[:10],
            url=_without(trace.url(), hidden)[:300],
            status=trace.status,
            excerpt=_excerpt(trace.answer, hidden, text),
            error="" if trace.outcome == "answered" else trace.outcome[:60],
            took_ms=trace.took_ms,
        )
        for trace in traces
    )


def store_said(found: Sequence[tuple[uuid.UUID, Said]]) -> None:
    """Store what was said about these attempts, in the caller's transaction; one statement however many."""
    if not found:
        return
    now = clock.now()
    if connection.vendor != "postgresql":
        rows = [Exchange(created_at=now, attempt_id=attempt_id, **asdict(each)) for attempt_id, each in found]
        Exchange.objects.bulk_create(rows)
        return
    values = [{"id": str(new_id()), "attempt_id": str(attempt_id), **asdict(each)} for attempt_id, each in found]
    execute_prepared(_STORE, [now, json.dumps(values)])


def drop_exchanges(before: datetime) -> int:
    """Forget what was said before that time; returns how many rows. By their ids, which sort by time."""
    return Exchange.objects.filter(pk__lt=first_id_at(before))._raw_delete(Exchange.objects.db)


def _excerpt(answer: bytes, hidden: Iterable[str], text: str) -> str:
    """The beginning of an answer on one line; nothing of one that quotes the text in another way than most."""
    found = _without(answer[:_READ].decode("utf-8", "replace").replace("\0", ""), hidden)
    found = _BASIC.sub("Basic …", found)
    return "…" if quotes(found, text) else _on_a_line(found)[:LONGEST_EXCERPT]


def quotes(words: str, text: str) -> bool:
    """Whether `words` of a carrier hold a text or its beginning, however it is escaped."""
    beginning = _on_a_line(text)[:_BEGINNING]
    if len(beginning) < _SHORTEST_TEXT:
        return False
    return any(beginning in _on_a_line(plain) for plain in (words, *_unescaped(words)))


def _unescaped(answer: str) -> Iterator[str]:
    """An answer as what it quotes was written, by each way of escaping there is in it."""
    if "&" in answer:
        yield html.unescape(answer)
    if "%" in answer:
        yield unquote_plus(answer)
    if "\\" in answer:
        plain = _ESCAPED.sub(_meant, answer)
        yield plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _meant(escaped: re.Match[str]) -> str:
    word = escaped[1]
    return chr(int(word[1:], 16)) if len(word) > 1 else _CONTROLS.get(word, word)


def _on_a_line(text: str) -> str:
    return " ".join(text.split())


def _without(text: str, hidden: Iterable[str]) -> str:
    for value in hidden:
        text = text.replace(value, "…")
    return text
