"""Sending by Inteliquent and looking up what became of it: every answer ends in the right outcome (R32)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpaas.carriers.base import (
    Doubtful,
    HttpResponse,
    LookUp,
    NotTaken,
    OutboundText,
    Refused,
)
from cpaas.tests.carrier_contract import Played, answer, play
from cpaas.tests.inteliquent_fixtures import (
    ACCOUNT,
    BAD_TOKEN,
    HTML_502,
    INTELIQUENT,
    JSON,
    SENT_AT,
    TN,
    published,
)


def send(*answers: Any, text: str = "Hello", media: tuple[str, ...] = (), to: str = "+12015550123") -> Played:
    return play(INTELIQUENT.send(ACCOUNT, OutboundText(TN, to, text, media)), *answers)


def test_a_text_goes_to_one_recipient_in_eleven_digits() -> None:
    played = send(answer(published("d88231b5")))
    assert played.requests[0].url == "https://broker.test/rest/publishMessages"
    assert played.bodies == [{"from": "12019920781", "to": ["12015550123"], "text": "Hello"}]
    assert played.result.sid == "d88231b5"


def test_media_make_it_an_mms_that_needs_no_text() -> None:
    assert send(answer(published()), text="", media=("https://x.test/a.jpg",)).bodies == [
        {"from": "12019920781", "to": ["12015550123"], "mediaUrls": ["https://x.test/a.jpg"]}
    ]


def test_short_codes_are_answered_as_they_are() -> None:
    assert send(answer(published()), to="72345").bodies[0]["to"] == ["72345"]


@pytest.mark.parametrize("text", ["Grüße 🎉 €", 'quote " \\ \n', "x" * 1600])
def test_any_text_arrives_as_written(text: str) -> None:
    assert send(answer(published()), text=text).bodies[0]["text"] == text


@pytest.mark.parametrize("sid", ["abc", 4711])
def test_a_sid_may_be_a_number(sid: Any) -> None:
    assert send(answer(published(sid))).result.sid == str(sid)


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (answer({"statusCode": "431", "status": "please try again"}), NotTaken, "431"),
        (answer({"statusCode": "431"}, 400), NotTaken, "431"),
        (answer(b"", 431), NotTaken, "431"),
        (answer({"success": False, "reason": "BUSY"}, 503), NotTaken, "503"),
        (answer({"statusCode": "408", "status": "text missing"}, 408), Refused, "408"),
        (answer({"success": False, "reason": "INVALID_FROM"}, 500), Refused, "INVALID_FROM"),
        (answer({"success": "false", "reason": "a long sentence"}, 400), Refused, "400"),
        (answer(published(status="BLOCKED")), Refused, "BLOCKED"),
        (answer(BAD_TOKEN, 401), Refused, "900901"),
        (answer({"statusCode": "500", "status": "internal"}), Doubtful, "500"),
        (answer({"success": True}), Doubtful, "no_id"),
        (answer(published(), 502), Doubtful, "502"),
        (answer({"statusCode": "200", **published()}, 502), Doubtful, "unreadable"),
        (answer(b""), Doubtful, "unreadable"),
        (answer([]), Doubtful, "unreadable"),
        (answer(b"<?xml version='1.0'?><code>101503</code>", 500), Doubtful, "500"),
        (HTML_502, Doubtful, "502"),
    ],
)
def test_r32_every_bad_answer_ends_in_the_right_outcome(said: HttpResponse, kind: type, code: str) -> None:
    error = send(said).error
    assert type(error) is kind
    assert error.code == code
    assert error.detail.endswith(".")
    assert "<" not in error.detail


def test_the_carriers_own_words_are_in_the_sentence_once_and_short() -> None:
    error = send(answer({"success": False, "reason": "X", "detail": "not a mobile number " * 50})).error
    assert "not a mobile number" in error.detail
    assert len(error.detail) < 300
    assert send(answer({"success": False, "reason": "NO", "detail": "NO"})).error.detail.count("NO") == 1


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry_after": "12"}, 12),
        ({"retry_after": "Sat, 21 Nov 2026 08:30:30 GMT", "date": "Sat, 21 Nov 2026 08:30:00 GMT"}, 30),
        ({"retry_after": "Sat, 21 Nov 2026 08:30:30 GMT"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-5"}, None),
        ({}, None),
    ],
)
def test_r32_retry_after_is_passed_on(headers: dict[str, str], wait: float | None) -> None:
    assert send(answer(b"", 429, **headers)).error.retry_after_s == wait


@pytest.mark.fuzz
@given(body=st.binary(max_size=200), status=st.integers(200, 599))
def test_r32_no_answer_whatsoever_breaks_the_adapter(body: bytes, status: int) -> None:
    played = send(answer(body, status))
    assert isinstance(played.error, Refused | NotTaken | Doubtful)


ANSWER_KEYS = st.sampled_from(["success", "statusCode", "status", "reason", "detail", "error", "result", "message"])


@pytest.mark.fuzz
@given(body=st.dictionaries(ANSWER_KEYS, JSON), status=st.sampled_from([200, 400, 500]))
def test_r32_no_json_whatsoever_breaks_the_adapter(body: Any, status: int) -> None:
    played = send(answer(json.dumps(body).encode(), status))
    assert played.result or isinstance(played.error, Refused | NotTaken | Doubtful)


def look_up(*records: dict[str, Any], code: str = "200") -> Played:
    query = LookUp(TN, "+12015550123", SENT_AT)
    return play(INTELIQUENT.look_up(ACCOUNT, query), answer({"statusCode": code, "messageDetails": list(records)}))


def record(**changes: Any) -> dict[str, Any]:
    base = {"source": "12019920781", "destination": "2015550123", "timeStamp": "2026-11-21T08:30:05.000Z"}
    return {**base, "status": "Successful", **changes}


def test_r32_a_look_up_asks_around_the_time_of_sending() -> None:
    played = look_up()
    assert played.paths == ["messageDetailSearch"]
    assert played.bodies == [
        {
            "privateKey": "key-AAAA",
            "startDate": "2026-11-21T08:28:00.000Z",
            "endDate": "2026-11-21T08:40:00.000Z",
            "direction": "Outbound",
            "sourceTn": "12019920781",
        }
    ]
    assert played.result == []


@pytest.mark.parametrize(
    ("word", "status"),
    [("Enroute", "sent"), ("Successful", "delivered"), ("Blocked", "failed"), ("FAILED", "failed"), ("Unknown", None)],
)
def test_r32_a_records_word_is_mapped(word: str, status: str | None) -> None:
    (match,) = look_up(record(status=word)).result
    assert (match.status, match.word, match.to_number) == (status, word, "+12015550123")
    assert match.at == SENT_AT + timedelta(seconds=5)


@pytest.mark.parametrize(
    "time",
    [
        {"timeStamp": "2026-11-21T02:30:05.000-0600"},
        {"timeStamp": "11/21/2026 3:30:05.000000 AM -05:00"},
        {"timeStamp": "08:30:05", "date": "2026-11-21"},
        {"timeStamp": None, "date": "2026-11-21 08:30:05"},
        {"timeStamp": 1795249805},
        {"timeStamp": "1795249805000"},
    ],
)
def test_r32_the_time_is_read_in_every_known_form(time: dict[str, Any]) -> None:
    (match,) = look_up(record(**time)).result
    assert match.at == SENT_AT + timedelta(seconds=5)


@pytest.mark.parametrize(
    "other",
    [
        {"destination": "12015550124"},
        {"source": "12019920782"},
        {"timeStamp": "2026-11-21T08:27:59Z"},
        {"timeStamp": "2026-11-21T08:40:01Z"},
        {"timeStamp": "yesterday"},
        {"timeStamp": None},
        {"timeStamp": None, "date": "2026-11-21"},
    ],
)
def test_r32_what_may_be_another_text_proves_nothing(other: dict[str, Any]) -> None:
    assert look_up(record(**other)).result == []


def test_r32_matches_come_newest_first_and_none_found_is_an_empty_list() -> None:
    times = [match.at.second for match in look_up(record(), record(timeStamp="2026-11-21T08:30:09Z")).result]
    assert times == [9, 5]
    assert look_up(code="430").result == []
