"""Hooks at Inteliquent: set once, removed when ours, and never an outbound key with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpaas.carriers.base import (
    Hook,
    HttpResponse,
    NotTaken,
    NumberNotOnAccount,
)
from cpaas.carriers.inteliquent import hooks
from cpaas.carriers.inteliquent.hooks import HookRow
from cpaas.tests.carrier_contract import Played, answer, play
from cpaas.tests.inteliquent_fixtures import (
    ACCOUNT,
    INTELIQUENT,
    KEY,
    SUCCESS,
    TN,
    URL,
)


def row(auth_id: Any, tn: Any = "12019920781", url: str = URL, key: str = KEY, inbound: Any = True) -> dict[str, Any]:
    return {"authId": auth_id, "inboundAuth": inbound, "tn": tn, "webhookUrl": url, "apiKey": key}


def table(*rows: dict[str, Any]) -> HttpResponse:
    return answer({**SUCCESS, "authConfig": {"authorizations": list(rows)}})


OUTBOUND_KEY = {"authId": 20, "inboundAuth": False, "apiKey": "outbound-CCCC"}
# A row that looks as if it were about our number, but is none that brings texts in.
OUTBOUND_OF_NUMBER = row(21, inbound=False)
COMPANY_DEFAULT = row(22, tn=None)
OTHER_NUMBER = row(23, tn="12019920782")
FOREIGN = (OUTBOUND_KEY, OUTBOUND_OF_NUMBER, COMPANY_DEFAULT, OTHER_NUMBER)


def set_hook(*answers: Any) -> Played:
    return play(INTELIQUENT.set_hook(ACCOUNT, TN), *answers)


def test_s4_31_a_new_hook_has_a_leading_one_and_our_key() -> None:
    played = set_hook(table(*FOREIGN), table(row(2)))
    assert played.paths == ["selectAuthorization", "configureAuthorization"]
    assert played.bodies[1] == {
        "authorizations": [{"inboundAuth": True, "webhookUrl": URL, "apiKey": KEY, "tn": "12019920781"}]
    }
    assert played.result == Hook("2", TN, URL)


@pytest.mark.parametrize("tn", ["12019920781", 12019920781, "2019920781", 2019920781, "+12019920781"])
def test_s4_31_a_hook_that_is_there_already_is_left_alone(tn: Any) -> None:
    played = set_hook(table(*FOREIGN, row("7", tn=tn)))
    assert played.paths == ["selectAuthorization"]
    assert played.result == Hook("7", TN, URL)


def test_s4_31_older_rows_go_after_the_new_one_is_there() -> None:
    older = (row(3, url="https://old.example/"), row(4, key="old-key"))
    played = set_hook(table(*FOREIGN, *older), table(row(5)), answer(SUCCESS))
    assert played.paths == ["selectAuthorization", "configureAuthorization", "removeAuthorization"]
    assert played.bodies[2] == {"authorizations": [{"authId": 3}, {"authId": 4}]}
    assert played.result.id == "5"


def test_s4_31_what_an_interruption_left_is_finished_by_the_next_time() -> None:
    played = set_hook(table(row("3", url="https://old.example/"), row(5), *FOREIGN), answer(SUCCESS))
    assert played.bodies[1] == {"authorizations": [{"authId": "3"}]}
    assert played.result.id == "5"


def test_s4_31_an_answer_without_id_is_looked_up_in_the_list() -> None:
    old = row(4, key="old-key")
    played = set_hook(table(old), answer(SUCCESS), table(old, row(9), *FOREIGN), answer(SUCCESS))
    assert played.paths[2:] == ["selectAuthorization", "removeAuthorization"]
    assert played.bodies[3] == {"authorizations": [{"authId": 4}]}
    assert played.result.id == "9"


def test_s4_31_a_row_changed_in_place_is_not_removed() -> None:
    played = set_hook(table(row(4, key="old-key")), table(row(4)))
    assert played.paths == ["selectAuthorization", "configureAuthorization"]
    assert played.result.id == "4"


def test_s4_31_a_hook_that_is_nowhere_listed_may_be_tried_again() -> None:
    assert isinstance(set_hook(table(), answer(SUCCESS), table(OUTBOUND_OF_NUMBER)).error, NotTaken)


def test_s4_40_only_our_rows_of_the_number_are_removed() -> None:
    other_place = row(30, url="https://elsewhere.example/", key="theirs")
    moved = row(31, url="https://our-former-name.example/")
    listed = table(*FOREIGN, row(32), other_place, moved)
    played = play(INTELIQUENT.remove_hook(ACCOUNT, TN, {}), listed, answer(SUCCESS))
    assert played.bodies[1] == {"authorizations": [{"authId": 32}, {"authId": 31}]}
    assert played.result == 2


def test_s4_40_nothing_left_to_remove_is_no_error() -> None:
    assert play(INTELIQUENT.remove_hook(ACCOUNT, TN, {}), table(*FOREIGN)).result == 0


@pytest.mark.parametrize("tn", ["", "+44748054278"])
def test_no_hook_is_ever_set_or_removed_without_a_number(tn: str) -> None:
    for operation in (INTELIQUENT.set_hook(ACCOUNT, tn), INTELIQUENT.remove_hook(ACCOUNT, tn, {})):
        played = play(operation)
        assert isinstance(played.error, NumberNotOnAccount)
        assert not played.requests


def test_the_list_has_inbound_rows_only_and_the_account_default_without_number() -> None:
    listed = play(INTELIQUENT.list_hooks(ACCOUNT), table(*FOREIGN, row("7"))).result
    assert listed == [Hook("22", "", URL), Hook("23", "+12019920782", URL), Hook("7", TN, URL)]


def test_the_last_guard_keeps_outbound_keys_whoever_asks() -> None:
    rows = [
        HookRow(20, False, "", "", "outbound-CCCC"),
        HookRow(21, False, TN, URL, KEY),
        HookRow(22, True, "", URL, KEY),
    ]
    assert not play(hooks.remove_rows(ACCOUNT, rows)).requests


ROWS = st.lists(
    st.builds(
        row,
        st.integers(1, 10**6) | st.integers(1, 10**6).map(str),
        st.sampled_from([None, "", "12019920781", 2019920781, "12019920782"]),
        st.sampled_from([URL, "https://old.example/", None]),
        st.sampled_from([KEY, "outbound-CCCC", None]),
        st.sampled_from([True, "true", False, "false", None]),
    ),
    max_size=8,
    unique_by=lambda one: str(one["authId"]),
)


@pytest.mark.fuzz
@given(rows=ROWS, remove=st.booleans())
def test_whatever_the_table_holds_only_inbound_rows_of_the_number_are_removed(rows: list[Any], remove: bool) -> None:
    operation = INTELIQUENT.remove_hook(ACCOUNT, TN, {}) if remove else INTELIQUENT.set_hook(ACCOUNT, TN)
    removable = {str(one["authId"]) for one in rows if one["inboundAuth"] in (True, "true") and one["tn"]}
    removable -= {str(one["authId"]) for one in rows if one["tn"] == "12019920782"}
    said: Any = None
    try:
        while True:
            request = operation.send(said)
            said = table(*rows)
            if request.url.endswith("configureAuthorization"):
                said = table(row(10**7))
            if request.url.endswith("removeAuthorization"):
                removed = {str(one["authId"]) for one in json.loads(request.body)["authorizations"]}
                assert removed <= removable
                said = answer(SUCCESS)
    except StopIteration:
        pass
