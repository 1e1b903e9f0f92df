"""Queue router and web server killed while conversations are offered, move on and are reserved (S4.3)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from tests.e2e.clients import Api
from tests.faults.programs import Program
from tests.faults.stage import Stage
from tests.faults.traffic import PATIENCE_S, Town
from tests.sandbox_process import wait_for

pytestmark = pytest.mark.fault
TEXTS = 12
# The shortest there is.
OFFER_S = 5
LOOKS_EVERY_S = 0.1
# What must never be seen: offers without their state or a state without its offers, a conversation or an agent with
# more open offers than the routing allows.
_WRONG = """
    WITH open AS (
        SELECT o.agent_id, o.entry_id, s.routing = 'ring_all' AS rings_all FROM cpaas_queueoffer o
        JOIN cpaas_queueentry e ON e.id = o.entry_id JOIN cpaas_mediastream s ON s.id = e.media_stream_id
        WHERE o.state = 'open'
    )
    SELECT 'the entry ' || id || ' is ' || state AS what FROM cpaas_queueentry
    WHERE (state = 'offered') <> (id IN (SELECT entry_id FROM open))
    UNION ALL
    SELECT 'the entry ' || entry_id || ' rings for ' || count(*) FROM open WHERE NOT rings_all
    GROUP BY entry_id HAVING count(*) > 1
    UNION ALL
    SELECT 'the agent ' || agent_id || ' is rung for ' || count(*) FROM open
    GROUP BY agent_id, rings_all HAVING count(*) > CASE WHEN rings_all THEN 5 ELSE 1 END
"""
_AT_IT = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
_TAKEN = """
    SELECT c.id::text, c.remote, c.user_id::text AS agent, e.state, e.reserved_by_id::text AS owner,
           (SELECT array_agg(DISTINCT m.user_id::text) FROM cpaas_message m WHERE m.conversation_id = c.id) AS readers,
           (SELECT count(*) FROM portal_auditentry a WHERE a.action = 'reserve'
            AND a.after ->> 'conversation' = c.id::text) AS reservations
    FROM cpaas_conversation c LEFT JOIN cpaas_queueentry e ON e.conversation_id = c.id WHERE c.remote = ANY(%s)
"""


# What an agent does when asked about a conversation for the first time, and later.
Manner = tuple[str, str]
TAKES, DECLINES_AT_FIRST, SLEEPS = ("reserve", "reserve"), ("decline", "reserve"), ("", "")


class Centre:
    """A media stream with an agent of each of these manners."""

    def __init__(self, town: Town, routing: str, *manners: Manner) -> None:
        tenant = town.tenant
        self._town = town
        users = [tenant.new_user(f"{routing}{n}", licence="agent") for n in range(len(manners))]
        wanted = {"group": tenant.group["id"], "name": routing, "media_type": "sms", "routing": routing}
        agents = {"agents": [user["id"] for user in users], "offer_timeout_s": OFFER_S}
        stream = tenant.staff.post("media-streams/", {**wanted, **agents})
        number = tenant.staff.post("numbers/", {"number": tenant.carrier.new_number(), "media_stream": stream["id"]})
        tenant.wait_for_status(number["id"], "enabled")
        self._number = number["number"]
        self.remotes: list[str] = []
        # Who was told that a conversation is theirs alone.
        self.told: list[tuple[str, str]] = []
        self._over = threading.Event()
        self._agents = [(tenant.device(user), user["id"], manner) for user, manner in zip(users, manners, strict=True)]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Its agents are at work."""
        with ThreadPoolExecutor(len(self._agents)) as pool:
            shifts = [pool.submit(self._work, *agent) for agent in self._agents]
            try:
                yield
            finally:
                self._over.set()
        for shift in shifts:
            shift.result()

    def texts(self, many: int) -> None:
        """So many remote parties text."""
        new = [self._town.new_remote() for _ in range(many)]
        self.remotes += new
        with ThreadPoolExecutor(many) as pool:
            list(pool.map(lambda remote: self._town.carrier.inbound(remote, self._number, "Hello?"), new))

    def _work(self, api: Api, user_id: str, manner: Manner) -> None:
        asked: set[str] = set()
        while not self._over.wait(LOOKS_EVERY_S):
            for row in self._ask(api, "GET", "queue/?state=offered").json()["results"]:
                conversation = row["conversation"]
                action = manner[conversation in asked] if user_id in row["offered_to"] else ""
                if action:
                    asked.add(conversation)
                    answer = self._ask(api, "POST", f"conversations/{conversation}/{action}/")
                    if action == "reserve" and answer.ok:
                        self.told.append((conversation, user_id))

    def _ask(self, api: Api, method: str, path: str) -> requests.Response:
        """Again and again until it is answered."""
        while True:
            try:
                answer = api.call(method, path)
            except requests.RequestException:
                assert not self._over.wait(LOOKS_EVERY_S), "nobody answers"
                continue
            assert answer.status_code in (200, 409), answer.text
            return answer


@contextmanager
def watched(stage: Stage) -> Iterator[None]:
    """All the time nothing may be seen that is wrong."""
    over, seen = threading.Event(), set()

    def watch() -> None:
        while not over.wait(LOOKS_EVERY_S):
            seen.update(row["what"] for row in stage.rows(_WRONG))

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield
        finally:
            over.set()
    watching.result()
    assert not seen


@contextmanager
def killed_amid(stage: Stage, program: Program, table: str, which: str) -> Iterator[None]:
    """At the end of the block the only program that writes such rows dies after it has written one and before its
    commit."""

    def caught() -> bool:
        wait_for(lambda: stage.rows(_AT_IT), what="such a row")
        program.pause()
        amid = bool(stage.rows(_AT_IT))
        if not amid:
            program.resume()
        return amid

    with stage.slow_inserts(table, which, 0.2):
        yield
        wait_for(caught, what=f"{program.name} to write such a row")
        program.kill()


def test_s4_3_killed_amid_offers_and_a_reservation(town: Town, stage: Stage) -> None:
    """Each conversation is reserved by one agent, once; none rings in two places at once, and none is left."""
    town.carrier.reset()
    in_turn = Centre(town, "round_robin", TAKES, DECLINES_AT_FIRST, SLEEPS)
    at_once = Centre(town, "ring_all", TAKES, TAKES, SLEEPS)
    centres = (in_turn, at_once)
    # While nobody waits it can hold no lock.
    stage.there.pause()
    with watched(stage), in_turn.open(), at_once.open():
        with killed_amid(stage, stage.here, "cpaas_queueoffer", "true"):
            in_turn.texts(TEXTS)
            at_once.texts(TEXTS)
            wait_for(lambda: in_turn.told and at_once.told, what="the first reservations")
        stage.there.resume()
        with killed_amid(stage, stage.web, "portal_auditentry", "NEW.action = 'reserve'"):
            in_turn.texts(TEXTS)
            at_once.texts(TEXTS)
        stage.web.start()
        with killed_amid(stage, stage.there, "cpaas_queueoffer", "true"):
            assert not all_taken(stage, centres), "killed too late to mean anything"
        for program in stage.residents:
            program.start()
        wait_for(lambda: all_taken(stage, centres), PATIENCE_S, "all to be reserved")
    for centre in centres:
        told = Counter(conversation for conversation, _ in centre.told)
        assert set(told.values()) == {1}
        rows = stage.rows(_TAKEN, centre.remotes)
        assert {row["remote"] for row in rows} == set(centre.remotes)
        for row in rows:
            owner = row["owner"]
            assert (row["id"], owner) in centre.told
            assert (row["agent"], row["readers"], row["reservations"]) == (owner, [owner], 1), row


def all_taken(stage: Stage, centres: Sequence[Centre]) -> bool:
    for centre in centres:
        states = [row["state"] for row in stage.rows(_TAKEN, centre.remotes)]
        if states != ["reserved"] * len(centre.remotes):
            return False
    return True
