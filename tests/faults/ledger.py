"""The books after a fault: accepted = kept, sent = sent once, doubtful = `unknown` until settled, streams whole."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cpaas.states import may_become
from tests.faults.traffic import Traffic
from tests.sandbox_process import ROOT

FIGURES = ROOT / "var" / "faults"
PATIENCE_S = 180
# They come after a text is `sent`, which is whole, and may be on their way to a stream.
LAST_RECEIPTS_S = 30
_TEXTS = """
    SELECT m.id::text, m.text, m.direction, m.status, m.error_code, m.error_text, m.position, m.user_id::text,
           m.conversation_id::text, m.remote,
           (SELECT count(*) FROM cpaas_attempt a WHERE a.message_id = m.id) AS attempts,
           EXISTS (SELECT 1 FROM cpaas_attempt a WHERE a.message_id = m.id AND a.next_check_at IS NOT NULL)
           OR EXISTS (SELECT 1 FROM cpaas_attempt a WHERE a.message_id = m.id AND a.checks > 0) AS was_unknown
    FROM cpaas_message m WHERE m.text LIKE %s ORDER BY m.conversation_id, m.position
"""
_MISCOUNTED = """
    SELECT c.id::text, c.message_count, c.new_count, c.outbox_at, counted.*
    FROM cpaas_conversation c JOIN (
        SELECT m.conversation_id, count(*) AS texts, max(m.position) AS last,
               count(*) FILTER (WHERE m.status = 'received' AND m.position > c.read_position) AS unread
        FROM cpaas_message m JOIN cpaas_conversation c ON c.id = m.conversation_id GROUP BY 1
    ) counted ON counted.conversation_id = c.id
    WHERE c.message_count <> counted.texts OR c.new_count <> counted.unread OR c.last_position < counted.last
"""
_HELD_UP = "SELECT id::text FROM cpaas_conversation WHERE outbox_at IS NOT NULL"
_STREAMS = """
    SELECT s.user_id::text, s.last_id, count(e.*) AS events, max(e.number) AS last
    FROM portal_eventstream s LEFT JOIN portal_event e ON e.user_id = s.user_id GROUP BY 1, 2
"""


class Ledger:
    """`wait_until_whole` passes when nothing is wrong any more; what must never happen stays wrong."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic, self._stage = traffic, traffic.stage

    def wait_until_whole(self, patience_s: float = PATIENCE_S) -> None:
        self._traffic.finish()
        self._wait_until_right(patience_s)
        self._whole_after_s = time.monotonic() - self._traffic.struck_at
        # A send that was still on its way would show now.
        time.sleep(1)
        self._wait_until_right(LAST_RECEIPTS_S)

    def _wait_until_right(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while wrong := list(self._wrong()):
            assert time.monotonic() < deadline, "\n".join(wrong[:20])
            time.sleep(0.3)

    def texts(self) -> list[dict[str, Any]]:
        return self._stage.rows(_TEXTS, f"{self._traffic.name} %")

    def figures(self) -> dict[str, Any]:
        out = [row for row in self.texts() if row["direction"] == "out"]
        states = Counter(row["status"] for row in out)
        was_unknown = sum(row["was_unknown"] for row in out)
        return {
            "sends": len(self._traffic.sendings),
            "delivered": states["delivered"],
            "sent": states["sent"],
            "failed": states["failed"],
            "doubtful": was_unknown,
            "settled": was_unknown - states["unknown"],
            "still_unknown": states["unknown"],
            "send_retries": sum(each.tries - 1 for each in self._traffic.sendings),
            "webhooks": len(self._traffic.arrivals),
            "webhook_retries": sum(len(each.deliveries) - 1 for each in self._traffic.arrivals),
            "reconnects": sum(each.connections - 1 for each in self._traffic.listeners.values()),
            "whole_after_s": round(self._whole_after_s, 1),
        }

    def write(self, title: str) -> None:
        FIGURES.mkdir(parents=True, exist_ok=True)
        row = {"scenario": title, **self.figures()}
        Path(FIGURES / f"{self._traffic.name}.json").write_text(json.dumps(row, indent=1))

    def _wrong(self) -> Iterator[str]:
        texts, taken = self.texts(), self._traffic.taken()
        yield from self._lost_or_doubled(texts)
        yield from self._sent_wrongly(texts, Counter(row["text"] for row in taken))
        yield from self._out_of_order(texts, taken)
        for row in self._stage.rows(_MISCOUNTED):
            yield f"miscounted: {row}"
        for row in self._stage.rows(_HELD_UP):
            yield f"held up: {row}"
        if spooled := list(self._stage.var_disk.path.glob("spool/*")):
            yield f"in the spool: {spooled}"
        yield from self._streams(texts)

    def _lost_or_doubled(self, texts: list[dict[str, Any]]) -> Iterator[str]:
        """Whatever was answered with a yes is one message, once."""
        by_id = {row["id"]: row for row in texts}
        stored = Counter(row["text"] for row in texts)
        for sending in self._traffic.sendings:
            if sending.refusal:
                yield f"refused: {sending}"
            if stored[sending.text] != 1 or by_id.get(sending.id, {}).get("text") != sending.text:
                yield f"{stored[sending.text]} times: {sending}"
        for arriving in self._traffic.arrivals:
            if stored[arriving.text] != 1:
                yield f"{stored[arriving.text]} times: {arriving}"

    def _sent_wrongly(self, texts: list[dict[str, Any]], taken: Counter[str]) -> Iterator[str]:
        yield from (f"taken {times} times: {text}" for text, times in taken.items() if times > 1)
        shared = Counter(each.remote for each in self._traffic.sendings)
        for row in texts:
            if row["direction"] != "out":
                continue
            status, was_taken = row["status"], taken[row["text"]]
            if status in ("queued", "sending") or row["attempts"] != 1:
                yield f"not done: {row}"
            elif status in ("sent", "delivered") and not was_taken:
                yield f"never taken: {row}"
            elif status == "failed" and row["error_code"] == "late" and not was_taken:
                continue  # surely not sent; by the time its dispatcher could say so it had been given up
            elif status in ("failed", "undelivered"):
                yield f"failed: {row}"
            elif status == "unknown" and was_taken and shared[row["remote"]] == 1:
                yield f"not settled: {row}"

    def _out_of_order(self, texts: list[dict[str, Any]], taken: list[dict[str, Any]]) -> Iterator[str]:
        """Texts of one conversation reach the carrier in the order in which they were accepted."""
        position = {row["text"]: (row["conversation_id"], row["position"]) for row in texts}
        last: dict[str, int] = defaultdict(int)
        for row in taken:
            conversation, place = position.get(row["text"], ("", 0))
            if place < last[conversation]:
                yield f"out of order: {row}"
            last[conversation] = max(last[conversation], place)

    def _streams(self, texts: list[dict[str, Any]]) -> Iterator[str]:
        stored = {row["user_id"]: row for row in self._stage.rows(_STREAMS)}
        for user_id, listener in self._traffic.listeners.items():
            yield from listener.faults
            row = stored[user_id]
            if not row["last_id"] == row["events"] == row["last"]:
                yield f"numbers with holes: {row}"
            if listener.last != row["last_id"]:
                yield f"has seen up to {listener.last} of {row['last_id']}"
            seen = list(listener.seen)
            created = Counter(event["data"]["id"] for event in seen if event["type"] == "message.created")
            for text in texts:
                if text["user_id"] == user_id and created[text["id"]] != 1:
                    yield f"message.created came {created[text['id']]} times: {text}"
            yield from _steps_back(seen)


def _steps_back(seen: list[dict[str, Any]]) -> Iterator[str]:
    """A text that surely was not taken goes back to the queue; everything else only goes on."""
    last: dict[str, str] = {}
    for event in seen:
        if not event["type"].startswith("message."):
            continue
        before, now = last.get(event["data"]["id"]), event["data"]["status"]
        last[event["data"]["id"]] = now
        if before in (None, now) or (before, now) == ("sending", "queued"):
            continue
        if before not in may_become(now):
            yield f"went from {before} to {now}: {event['data']}"
