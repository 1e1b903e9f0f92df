"""The routes of presence (contracts section 5, R42)."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.models import AuditEntry
from portal.tests.factories import EndUserFactory, device_token
from presence.merge import Kind, Report
from presence.models import Note, OwnStatus
from presence.services.online import note_online
from presence.states import Status
from presence.tests.factories import NoteFactory, OwnStatusFactory, TableOfUsers, TableSource, last_sign, registered

pytestmark = [pytest.mark.django_db, pytest.mark.core]


@pytest.fixture
def mary():
    return EndUserFactory(name="Mary")


@pytest.fixture
def tom(mary):
    return EndUserFactory(group=mary.group, name="Tom")


def test_presence_of_a_colleague_follows_from_the_clients(api, mary, tom) -> None:
    """R17: an open client is available, none is offline."""
    client = api(device_token(mary))
    seen = client.get(f"/api/v1/presence/{tom.pk}/").json()
    assert seen == {
        "user": str(tom.pk),
        "status": "offline",
        "label": "Offline",
        "message": "",
        "note": None,
        "rich": {"status": "offline", "label": "Offline", "message": "", "source": "own", "at": None},
        "telephony": None,
        "why": ["Offline, no client of the user is open: all sources that know the user are offline."],
    }
    note_online([tom.pk])
    assert client.get(f"/api/v1/presence/{tom.pk}/").json()["status"] == "available"
    last_sign(tom, ago_s=1)
    assert client.get(f"/api/v1/presence/{tom.pk}/").json()["status"] == "offline"


def test_own_status_is_set_changed_and_cleared(api, mary, tom) -> None:
    own, other = api(device_token(tom)), api(device_token(mary))
    answer = own.put("/api/v1/presence/me/", {"status": "dnd", "message": " In a meeting "}, format="json")
    assert (answer.status_code, answer.json()["status"], answer.json()["message"]) == (200, "dnd", "In a meeting")
    seen = other.get(f"/api/v1/presence/{tom.pk}/").json()
    assert (seen["status"], seen["label"], seen["message"]) == ("dnd", "Do not disturb", "In a meeting")
    assert seen["rich"]["source"] == "own"
    assert seen["rich"]["at"].endswith("Z")
    # R16: another word for busy.
    assert own.put("/api/v1/presence/me/", {"status": "occupied"}, format="json").json()["status"] == "busy"
    assert own.put("/api/v1/presence/me/", {"status": None, "message": None}, format="json").json()["message"] == ""
    assert own.get("/api/v1/presence/me/").json()["status"] == "offline"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "offline"},
        {"status": "forwarded_voicemail"},
        {"status": "Available"},
        {"status": "busy", "message": "x" * 501},
        {"status": "busy", "mood": "fine"},
        {"status": 5},
        {"status": ["busy"]},
        {"status": "busy", "message": 5},
    ],
)
def test_an_own_status_that_is_none_is_refused(api, tom, body: dict) -> None:
    assert api(device_token(tom)).put("/api/v1/presence/me/", body, format="json").status_code == 400


@pytest.mark.parametrize("character", ["\x01", "\x0b", "\x1b", "\ufffe", "\uffff"])
def test_what_xml_cannot_write_is_refused(api, mary, tom, character: str) -> None:
    """XMPP servers are told the message, and end the session of whoever sends such a character (facts 2 d)."""
    client = api(device_token(mary))
    for path, body in (
        ("presence/me/", {"status": "busy", "message": f"In a{character} meeting"}),
        (f"users/{tom.pk}/note/", {"text": f"Call{character} back"}),
    ):
        answer = client.put(f"/api/v1/{path}", body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (400, "illegal_characters")
        assert set(answer.json()["errors"]) == {"message" if "message" in body else "text"}
    assert not OwnStatus.objects.exists()
    assert not Note.objects.exists()


def test_the_list_has_whom_i_monitor_page_by_page(api, mary) -> None:
    """Section 0: a wrapped list, newest first, paged by key; as many queries for three as for one."""
    others = EndUserFactory.create_batch(3, group=mary.group)
    mary.monitored.set(others)
    EndUserFactory(group=mary.group)
    OwnStatusFactory(user=others[0])
    NoteFactory(user=others[1])
    client = api(device_token(mary))
    first = client.get("/api/v1/presence/?limit=2").json()
    assert [row["user"] for row in first["results"]] == [str(others[2].pk), str(others[1].pk)]
    assert first["results"][1]["note"]["text"] == "Back on Monday"
    second = client.get("/api/v1/presence/", {"limit": 2, "cursor": first["next"]}).json()
    assert [(row["user"], row["status"]) for row in second["results"]] == [(str(others[0].pk), "busy")]
    assert second["next"] is None
    with CaptureQueriesContext(connection) as for_one:
        client.get("/api/v1/presence/?limit=1")
    with CaptureQueriesContext(connection) as for_three:
        client.get("/api/v1/presence/")
    assert len(for_three) == len(for_one)


def test_r42_the_organisation_is_the_group_and_what_the_enterprise_links(api, mary) -> None:
    linked = EndUserFactory(group__reseller=mary.group.reseller, group__enterprise="Alps")
    elsewhere = EndUserFactory(group__enterprise="Alps")
    unlinked = EndUserFactory(group__reseller=mary.group.reseller)
    client = api(device_token(mary))
    strangers = [linked, elsewhere, unlinked]
    mary.monitored.set(strangers)

    def statuses() -> list[int]:
        return [client.get(f"/api/v1/presence/{other.pk}/").status_code for other in strangers]

    assert statuses() == [404, 404, 404]
    assert client.get("/api/v1/presence/").json()["results"] == []
    mary.group.enterprise = "Alps"
    mary.group.save()
    assert statuses() == [200, 404, 404]
    assert [row["user"] for row in client.get("/api/v1/presence/").json()["results"]] == [str(linked.pk)]
    written = [client.put(f"/api/v1/users/{o.pk}/note/", {"text": "x"}, format="json").status_code for o in strangers]
    assert written == [200, 404, 404]


def test_a_deactivated_colleague_is_gone(api, mary, tom) -> None:
    tom.is_active = False
    tom.save()
    mary.monitored.set([tom])
    client = api(device_token(mary))
    assert client.get(f"/api/v1/presence/{tom.pk}/").status_code == 404
    assert client.get("/api/v1/presence/").json()["results"] == []


def test_s3_6_a_note_is_written_changed_and_deleted_with_a_trail(api, mary, tom) -> None:
    """S3.6; the trail keeps no text."""
    client, path = api(device_token(mary)), f"/api/v1/users/{tom.pk}/note/"
    answer = client.put(path, {"text": " On holiday 🏖 "}, format="json")
    assert answer.status_code == 200
    assert (answer.json()["text"], answer.json()["by"]) == ("On holiday 🏖", "Mary")
    assert api(device_token(tom)).get("/api/v1/presence/me/").json()["note"] == {
        "text": "On holiday 🏖",
        "by": "Mary",
        "at": answer.json()["at"],
    }
    client.put(path, {"text": "On holiday 🏖"}, format="json")
    client.put(path, {"text": "Back"}, format="json")
    answer = client.put(path, {"text": ""}, format="json")
    assert answer.json() == {"user": str(tom.pk), "text": "", "by": None, "at": None}
    assert client.get(f"/api/v1/presence/{tom.pk}/").json()["note"] is None
    trail = AuditEntry.objects.filter(object_id=tom.pk).order_by("id")
    assert [(row.action, row.actor_id) for row in trail] == [
        (action, mary.pk) for action in ("write_note", "change_note", "delete_note")
    ]
    assert "holiday" not in str([(row.before, row.after) for row in trail])


@pytest.mark.parametrize("body", [{}, {"text": None}, {"text": "x" * 501}, {"text": "a\x00b"}, {"note": "x"}])
def test_a_note_that_is_none_is_refused(api, mary, tom, body: dict) -> None:
    answer = api(device_token(mary)).put(f"/api/v1/users/{tom.pk}/note/", body, format="json")
    assert answer.status_code == 400
    assert not Note.objects.exists()


def test_a_note_outlives_its_author(api, mary, tom) -> None:
    author = EndUserFactory(group=mary.group, name="Ann")
    api(device_token(author)).put(f"/api/v1/users/{tom.pk}/note/", {"text": "Call back"}, format="json")
    author.delete()
    assert api(device_token(mary)).get(f"/api/v1/presence/{tom.pk}/").json()["note"]["by"] == "Ann"


def test_what_a_source_shows_to_one_viewer_nobody_else_sees(api, mary, tom) -> None:
    """S0.27: XMPP presence is seen by who holds a subscription."""
    source, ann = TableSource(), EndUserFactory(group=mary.group)
    source.table[mary.pk, tom.pk] = [Report(Kind.RICH, "xmpp", Status.AWAY, message="Coffee")]
    with registered(source):
        seen = api(device_token(mary)).get(f"/api/v1/presence/{tom.pk}/").json()
        assert (seen["status"], seen["message"], seen["rich"]["source"]) == ("away", "Coffee", "xmpp")
        assert api(device_token(ann)).get(f"/api/v1/presence/{tom.pk}/").json()["status"] == "offline"
    assert source.asked == [{(mary.pk, tom.pk)}, {(ann.pk, tom.pk)}]


def test_a_shared_source_is_seen_by_everybody(api, mary, tom) -> None:
    """As lines will be: R17, a diversion with its details."""
    source = TableOfUsers()
    source.table[tom.pk] = [
        Report(Kind.TELEPHONY, "cti", Status.FORWARDED_NUMBER, forwarded_to="+12015550100", preferred=True)
    ]
    with registered(source):
        seen = api(device_token(mary)).get(f"/api/v1/presence/{tom.pk}/").json()
    assert seen["status"] == "forwarded_number"
    assert seen["telephony"] == {
        "status": "forwarded_number",
        "label": "Forwarded to phone number",
        "detail": None,
        "forwarded_to": "+12015550100",
        "source": "cti",
        "at": None,
    }
