"""What a server is told to forget (XEP-0198)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xmpp.acknowledging import Unstored


def test_all_is_stored() -> None:
    """What needs no storing (presence, answers) is acknowledged at once, also when that is nothing new."""
    unstored = Unstored()
    assert unstored.answer(7) == 7
    assert unstored.answer(7) == 7
    assert not unstored.owes_answer


def test_acknowledges_as_far_as_the_oldest_unstored() -> None:
    """One message that cannot be stored does not keep the server from forgetting what is before it."""
    unstored = Unstored()
    tickets = [unstored.add(number) for number in (3, 4, 6)]
    assert unstored.answer(8) == 2
    assert unstored.answer(8) is None  # nothing new to tell: not again and again
    assert unstored.owes_answer
    unstored.remove([tickets[0], tickets[2]])
    assert unstored.answer(8) == 3
    unstored.remove([tickets[1]])
    assert unstored.answer(8) == 8
    assert not unstored.owes_answer


def test_a_former_session_takes_nothing_from_the_new_one() -> None:
    """Stanzas of each session are counted from one: what is stored late of the former is none of the new one's."""
    unstored = Unstored()
    former = unstored.add(1)
    unstored.begin(0)
    unstored.add(1)
    unstored.remove([former])
    assert unstored.answer(1) is None


def test_a_resumed_session_takes_nothing_back() -> None:
    """The server knew at the resumption that we have seven stanzas, and ends the stream over a lower number."""
    unstored = Unstored()
    unstored.add(5)
    unstored.begin(7)
    assert unstored.answer(7) == 7


@given(st.lists(st.sampled_from(["message", "presence", "store", "ask"]), max_size=60))
def test_never_less_than_before_and_never_what_is_not_stored(steps: list[str]) -> None:
    """Whatever comes in whatever order."""
    unstored, waiting, handled, told = Unstored(), {}, 0, 0
    for step in steps:
        if step in ("message", "presence"):
            handled += 1
            if step == "message":
                waiting[unstored.add(handled)] = handled
        elif step == "store" and waiting:
            # The newest first: batches may be stored in pieces.
            ticket = max(waiting)
            del waiting[ticket]
            unstored.remove([ticket])
        elif step == "ask":
            answer = unstored.answer(handled)
            assert answer is not None or waiting
            if answer is not None:
                assert told <= answer <= handled
                assert all(answer < number for number in waiting.values())
                told = answer
