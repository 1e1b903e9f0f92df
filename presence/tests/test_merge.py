"""The merge of what sources report into one presence (R17)."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.merge import Kind, Presence, Report, merge
from presence.states import LABELS, RANK, Detail, Status

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
STANDARD = [status for status in Status if status.is_standard]
ERRORS = [status for status in Status if not status.is_standard]
PERSONAL = [Status.DND, Status.BUSY, Status.AWAY, Status.AVAILABLE, Status.OFFLINE]
ONLINE = Report(Kind.OWN, "own", Status.AVAILABLE, implied=True)
GONE = Report(Kind.OWN, "own", Status.OFFLINE, implied=True)


def own(status: Status, message: str = "") -> Report:
    return Report(Kind.OWN, "own", status, message=message, at=NOON)


def rich(status: Status, source: str = "xmpp", *, after_s: int = 0, **fields: object) -> Report:
    return Report(Kind.RICH, source, status, at=NOON + timedelta(seconds=after_s), **fields)  # type: ignore[arg-type]


def phone(status: Status, detail: Detail | None = None, source: str = "sip", **fields: object) -> Report:
    return Report(Kind.TELEPHONY, source, status, detail=detail, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "reports", "status"),
    [
        ("nobody reports", [], Status.NOT_REQUESTED),
        ("an open client is available", [ONLINE], Status.AVAILABLE),
        ("no open client is offline", [GONE], Status.OFFLINE),
        ("own dnd before a diversion", [own(Status.DND), phone(Status.FORWARDED_VOICEMAIL)], Status.DND),
        ("rich dnd before a call", [rich(Status.DND), phone(Status.BUSY, Detail.TALKING)], Status.DND),
        ("telephony dnd before own busy", [own(Status.BUSY), phone(Status.DND)], Status.DND),
        (
            "S3.42 a diversion before busy",
            [own(Status.BUSY), phone(Status.FORWARDED_NUMBER, Detail.TALKING)],
            Status.FORWARDED_NUMBER,
        ),
        (
            "own never hides a diversion",
            [own(Status.AVAILABLE), phone(Status.FORWARDED_VOICEMAIL)],
            "forwarded_voicemail",
        ),
        ("own never hides a call", [own(Status.AVAILABLE), phone(Status.BUSY)], Status.BUSY),
        ("a live call is busy", [own(Status.AWAY), phone(Status.AVAILABLE, Detail.RINGING)], Status.BUSY),
        ("rich busy", [ONLINE, rich(Status.BUSY), phone(Status.AVAILABLE)], Status.BUSY),
        ("rich away before an open client", [ONLINE, rich(Status.AWAY)], Status.AWAY),
        ("own replaces rich", [own(Status.AVAILABLE), rich(Status.DND)], Status.AVAILABLE),
        ("own replaces rich, to the weaker too", [own(Status.AWAY), rich(Status.BUSY)], Status.AWAY),
        ("an own status holds without an open client", [own(Status.BUSY), GONE], Status.BUSY),
        ("any source available", [GONE, rich(Status.OFFLINE), phone(Status.AVAILABLE)], Status.AVAILABLE),
        ("all offline", [GONE, rich(Status.OFFLINE), phone(Status.OFFLINE)], Status.OFFLINE),
        (
            "S3.25 the preferred server wins",
            [rich(Status.AWAY, "a", preferred=True), rich(Status.DND, after_s=9)],
            "away",
        ),
        ("then the newest", [rich(Status.AWAY, "a"), rich(Status.AVAILABLE, "b", after_s=1)], Status.AVAILABLE),
        ("a preferred server with an error does not", [rich(Status.ERROR, preferred=True), rich(Status.AWAY)], "away"),
        (
            "S3.33 CTI before SIP",
            [phone(Status.AVAILABLE, source="cti", preferred=True), phone(Status.DND)],
            "available",
        ),
        ("S3.33 CTI without a state", [phone(Status.ERROR, source="cti", preferred=True), phone(Status.BUSY)], "busy"),
        ("all lines of a user", [phone(Status.AVAILABLE), phone(Status.BUSY, source="line 2")], Status.BUSY),
        ("S3.41 dnd overrides forwarded", [phone(Status.FORWARDED_VOICEMAIL), phone(Status.DND)], Status.DND),
        ("an error counts only alone", [rich(Status.ACCESS_DENIED), GONE], Status.OFFLINE),
    ],
)
def test_r17_first_match(rule: str, reports: list[Report], status: str) -> None:
    assert merge(reports).status == status, rule


def test_r17_error_words_in_their_order() -> None:
    order = [
        Status.ACCESS_DENIED,
        Status.ERROR,
        Status.NOT_FOUND,
        Status.REQUESTING,
        Status.SERVER_NOT_CONFIGURED,
        Status.NOT_REQUESTED,
        Status.NOT_CONFIGURED_FOR_USER,
    ]
    for stronger, weaker in itertools.combinations(order, 2):
        assert merge([rich(weaker), phone(stronger)]).status == stronger
        assert merge([phone(weaker), rich(stronger)]).status == stronger


def test_r17_detail_is_the_strongest_and_kept_beside_dnd_and_a_diversion() -> None:
    for detail in Detail:
        assert merge([phone(Status.DND, detail)]).telephony.detail == detail
        found = merge([phone(Status.FORWARDED_NUMBER, detail, forwarded_to="+12015550100")])
        assert (found.telephony.detail, found.telephony.forwarded_to) == (detail, "+12015550100")
    for stronger, weaker in itertools.combinations(Detail, 2):
        found = merge([phone(Status.BUSY, weaker), phone(Status.BUSY, stronger, source="line 2")])
        assert found.telephony.detail == stronger


def test_what_is_shown_of_each_kind_and_whose_message() -> None:
    """R17: own status is shown in place of the rich source; the message is that of what counts."""
    call = phone(Status.BUSY, Detail.TALKING)
    found = merge([own(Status.AWAY, "lunch"), rich(Status.DND, message="go away"), ONLINE, call])
    assert (found.status, found.message, found.rich.source) == (Status.BUSY, "lunch", "own")
    found = merge([rich(Status.DND, message="go away"), ONLINE])
    assert (found.message, found.rich.source, found.telephony) == ("go away", "xmpp", None)
    found = merge([rich(Status.OFFLINE, message="bye"), ONLINE])
    assert (found.status, found.rich) == (Status.AVAILABLE, ONLINE)


def test_why_begins_with_the_rule_that_won_and_names_what_it_beat() -> None:
    found = merge(
        [
            own(Status.AVAILABLE),
            rich(Status.DND),
            phone(Status.FORWARDED_VOICEMAIL, Detail.ON_HOLD, source="cti", preferred=True),
            phone(Status.BUSY, source="sip"),
        ]
    )
    first, *others = found.why
    assert first == (
        "Forwarded to voice mail, says the telephone (cti), on hold: "
        "a diverted telephone goes before busy and available."
    )
    assert set(others) == {
        "Available, set by the user.",
        "Do not disturb, says xmpp; the user's own status stands in its place.",
        "Busy, says the telephone (sip); another telephony source goes before it.",
    }


def test_labels_are_the_seeds_words() -> None:
    """S3.32, S3.37-S3.40, R16."""
    assert set(LABELS) == set(Status)
    assert Status.BUSY.label == "Busy"
    assert Status.FORWARDED_VOICEMAIL.label == "Forwarded to voice mail"
    assert Status.NOT_CONFIGURED_FOR_USER.label == "User not configured or not enabled for this type of presence"


# --- Whatever the sources report -----------------------------------------------------------------------------------
times = st.none() | st.integers(0, 3).map(lambda s: NOON + timedelta(seconds=s))
own_reports = st.builds(Report, st.just(Kind.OWN), st.just("own"), st.sampled_from(PERSONAL[:4]), at=times)
clients = st.sampled_from([ONLINE, GONE])
rich_reports = st.builds(
    Report,
    st.just(Kind.RICH),
    st.sampled_from(["xmpp", "server a", "server b"]),
    st.sampled_from(PERSONAL + ERRORS),
    message=st.sampled_from(["", "lunch"]),
    preferred=st.booleans(),
    at=times,
)
lines = st.builds(
    Report,
    st.just(Kind.TELEPHONY),
    st.sampled_from(["cti", "sip"]),
    st.sampled_from([status for status in Status if status != Status.AWAY]),
    detail=st.none() | st.sampled_from(list(Detail)),
    preferred=st.booleans(),
    at=times,
)
some = st.lists(own_reports | clients | rich_reports | lines, max_size=6)


def counted(reports: list[Report]) -> list[Status]:
    """What R17 lets count, written down a second time: each kind by itself, then all of them."""

    def best(found: list[Report]) -> list[Report]:
        found = [report for report in found if report.status.is_standard]
        return [report for report in found if report.preferred] or found

    said = [report for report in reports if report.kind == Kind.OWN and not report.implied]
    servers = best([report for report in reports if report.kind == Kind.RICH])
    newest = max((report.at or datetime.min.replace(tzinfo=UTC) for report in servers), default=None)
    servers = [r for r in servers if (r.at or datetime.min.replace(tzinfo=UTC)) == newest]
    telephones = best([report for report in reports if report.kind == Kind.TELEPHONY])
    personal = said or [*servers, *(report for report in reports if report.implied)]
    in_call = [Status.BUSY for report in telephones if report.detail]
    return [*(report.status for report in (*personal, *telephones)), *in_call]


@pytest.mark.fuzz
@given(some)
def test_r17_the_strongest_of_what_counts_wins(reports: list[Report]) -> None:
    found = merge(reports).status
    standard = [status for status in counted(reports) if status.is_standard]
    if not reports:
        assert found == Status.NOT_REQUESTED
    elif standard:
        # Of sources as new as each other either may be taken.
        assert found.is_standard
        assert found in standard
        telephones = [r.status for r in reports if r.kind == Kind.TELEPHONY and not any(o.preferred for o in reports)]
        assert all(RANK[found] <= RANK[status] for status in telephones)
    else:
        assert RANK[found] == min(RANK[report.status] for report in reports)


@pytest.mark.fuzz
@given(some.flatmap(lambda reports: st.tuples(st.just(reports), st.permutations(reports))))
def test_the_order_in_which_reports_come_changes_nothing(both: tuple[list[Report], list[Report]]) -> None:
    assert merge(both[0]) == merge(both[1])


@pytest.mark.fuzz
@given(some, st.sampled_from(PERSONAL[:4]))
def test_r17_own_status_stands_for_rich_and_hides_neither_call_nor_diversion(
    reports: list[Report], status: Status
) -> None:
    others = [report for report in reports if report.kind != Kind.OWN]
    telephones = [report for report in others if report.kind == Kind.TELEPHONY]
    found: Presence = merge([*others, own(status)])
    assert found.status == merge([*telephones, own(status)]).status
    alone = merge(telephones)
    if telephones and RANK[alone.status] <= RANK[Status.BUSY]:
        assert RANK[found.status] <= RANK[alone.status]


@pytest.mark.fuzz
@given(some)
def test_every_presence_is_explained(reports: list[Report]) -> None:
    found = merge(reports)
    assert found.why[0].startswith(found.status.label)
    assert len(found.why) <= len(reports) + 1
    assert all(sentence.endswith(".") for sentence in found.why)
    assert (found.telephony is None) == all(report.kind != Kind.TELEPHONY for report in reports)
    assert found.message == (found.rich.message if found.rich else "")
