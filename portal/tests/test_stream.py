"""The event stream on a real server: resume, order, resets, last words (contracts section 4, Events)."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from portal.events import publish
from portal.models import Device, EndUser, Event, EventStream
from portal.services import tokens, users
from portal.tests.factories import EndUserFactory, device_token
from portal.tests.servers import Server, running_server
from tests.sandbox_process import wait_for

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = "/api/v1/events/"


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker) -> Iterator[Server]:
    with django_db_blocker.unblock(), running_server() as running:
        yield running


@pytest.fixture
def user() -> EndUser:
    return EndUserFactory()


@pytest.fixture
def token(user: EndUser) -> str:
    return device_token(user)


def news(user: EndUser, count: int = 1) -> None:
    """`session.updated` so many times."""
    for _ in range(count):
        with transaction.atomic():
            publish(user.pk, "session.updated", user.pk)


def problem_of(answer) -> tuple[int, str, str]:
    return answer.status, json.loads(answer.read())["code"], answer.headers["Content-Type"]


class TestSSE:
    def test_the_answer_is_as_written(self, server: Server, user: EndUser, token: str):
        news(user, 3)
        stream = server.stream(token)
        headers = stream.answer.headers
        assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        assert set(stream.hello) == {"type", "cursor", "at"}
        assert (stream.hello["type"], stream.hello["cursor"]) == ("hello", 3)
        news(user)
        event = stream.event()
        assert (event["id"], event["type"], event["data"]["cursor"]) == (4, "session.updated", 4)
        assert event["at"].endswith("Z")

    def test_without_accept_it_is_a_stream(self, server: Server, token: str):
        assert server.get(EVENTS, token=token).headers["Content-Type"].startswith("text/event-stream")

    def test_it_resumes_after_the_last_event_id_without_hole_or_double(self, server: Server, user: EndUser, token: str):
        news(user, 5)
        stream = server.stream(token, "?after=1")
        assert stream.hello["cursor"] == 1
        seen = [stream.event()["id"] for _ in range(2)]
        stream.close()
        news(user, 2)
        again = server.stream(token, "?after=0", Last_Event_ID=str(seen[-1]))
        assert [again.event()["id"] for _ in range(4)] == [4, 5, 6, 7]

    def test_a_long_backlog_comes_whole(self, server: Server, user: EndUser, token: str):
        news(user, 450)
        stream = server.stream(token, "?after=0")
        assert [stream.event()["id"] for _ in range(450)] == list(range(1, 451))

    def test_events_come_in_commit_order_while_a_transaction_is_held_open(
        self, server: Server, user: EndUser, token: str
    ):
        """Ids taken at INSERT would show 2 before 1 here, and a client at 2 would never see 1."""
        stream = server.stream(token)
        taken, release = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                publish(user.pk, "message.created", user.pk)
                taken.set()
                release.wait(20)
            connections.close_all()

        def overtake() -> None:
            taken.wait(20)
            news(user)
            connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            pool.submit(hold)
            pool.submit(overtake)
            taken.wait(20)
            # Another user's commit does not wait for ours, and ours is not shown before it is committed.
            other = EndUserFactory()
            others = server.stream(device_token(other))
            news(other)
            assert others.event()["id"] == 1
            assert EventStream.objects.filter(pk=user.pk).first() is None
            release.set()
        assert [(event["id"], event["type"]) for event in (stream.event(), stream.event())] == [
            (1, "message.created"),
            (2, "session.updated"),
        ]

    def test_what_is_gone_by_now_is_told_as_gone(self, server: Server, user: EndUser, token: str):
        with transaction.atomic():
            publish(user.pk, "message.created", user.pk)
        assert server.stream(token, "?after=0").event()["data"] == {"id": str(user.pk), "gone": True}

    def test_a_database_that_cut_every_connection_costs_no_event(self, server: Server, user: EndUser, token: str):
        stream = server.stream(token)
        news(user)
        assert stream.event()["id"] == 1
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        news(user)
        assert stream.event()["id"] == 2

    def test_two_devices_both_get_it_and_strangers_do_not(self, server: Server, user: EndUser, token: str):
        stranger = EndUserFactory()
        streams = [server.stream(token), server.stream(device_token(user)), server.stream(device_token(stranger))]
        news(user)
        news(stranger)
        assert [stream.event()["data"]["user"]["id"] for stream in streams] == [
            str(user.pk),
            str(user.pk),
            str(stranger.pk),
        ]


@pytest.mark.core
class TestReset:
    def test_too_old(self, server: Server, user: EndUser, token: str):
        news(user, 5)
        Event.objects.filter(user=user, number__lte=3).delete()
        stream = server.stream(token, "?after=1")
        event = stream.event()
        assert (event["id"], event["type"], event["data"]) == (5, "reset", {"reason": "too_old"})
        news(user)
        assert stream.event()["id"] == 6

    def test_s1_59_what_a_client_was_told_is_noted_also_when_it_starts_anew(
        self, server: Server, user: EndUser, token: str
    ):
        def heard() -> int:
            return Device.objects.get(user=user).heard_number

        news(user, 2)
        stream = server.stream(token, "?after=1")
        assert stream.event()["id"] == 2
        wait_for(lambda: heard() == 2)
        stream.close()
        news(user, 3)
        Event.objects.filter(user=user, number__lte=4).delete()
        stream = server.stream(token, "?after=2")
        assert stream.event()["type"] == "reset"
        wait_for(lambda: heard() == 5)

    def test_all_purged(self, server: Server, user: EndUser, token: str):
        news(user, 2)
        Event.objects.filter(user=user).delete()
        assert server.stream(token, "?after=0").event()["data"] == {"reason": "too_old"}
        assert server.stream(token, "?after=2").hello["cursor"] == 2

    def test_ahead_of_a_restored_database(self, server: Server, user: EndUser, token: str):
        news(user, 2)
        stream = server.stream(token, Last_Event_ID="99")
        assert stream.hello["cursor"] == 2
        event = stream.event()
        assert (event["id"], event["data"]) == (2, {"reason": "ahead"})

    def test_overflow(self, server: Server, user: EndUser, token: str):
        EventStream.objects.create(user=user, last_id=20_000)
        Event.objects.bulk_create(Event(user=user, number=n, type="x", object_id=user.pk) for n in (1, 2, 3))
        event = server.stream(token, "?after=0").event()
        assert (event["id"], event["data"]) == (20_000, {"reason": "overflow"})


@pytest.mark.core
class TestBye:
    def test_a_revoked_device(self, server: Server, user: EndUser, token: str):
        stream, other = server.stream(token), server.stream(device_token(user))
        tokens.revoke_device(device=Device.objects.get(digest=tokens.digest_of(token)))
        event = stream.event()
        assert (event["id"], event["type"], event["data"]) == (None, "bye", {"reason": "revoked"})
        assert stream.event() == {}
        news(user)
        assert other.event()["type"] == "session.updated"

    def test_a_logout(self, server: Server, token: str):
        stream = server.stream(token)
        assert server.request("POST", "/api/v1/logout/", token=token, body={}).status == 204
        assert stream.event()["data"] == {"reason": "logout"}

    @pytest.mark.parametrize(
        "change", [{"changes": {"is_active": False}}, {"changes": {}, "password": "another long one"}]
    )
    def test_a_user_whose_tokens_ended(self, server: Server, user: EndUser, token: str, change):
        stream = server.stream(token)
        users.update_user(actor=None, user=user, **change)
        assert stream.event()["data"] == {"reason": "revoked"}

    def test_a_deleted_user(self, server: Server, user: EndUser, token: str):
        stream = server.stream(token)
        users.delete_user(actor=None, user=user)
        assert stream.event()["data"] == {"reason": "revoked"}

    def test_an_expired_token(self, server: Server, user: EndUser, token: str):
        stream = server.stream(token)
        Device.objects.filter(user=user).update(expires_at=timezone.now())
        assert stream.event()["data"] == {"reason": "expired"}

    def test_the_sixth_stream_of_a_device_replaces_the_first(self, server: Server, user: EndUser, token: str):
        other_device = server.stream(device_token(user))
        streams = [server.stream(token) for _ in range(6)]
        assert streams[0].event()["data"] == {"reason": "replaced"}
        news(user)
        assert [stream.event()["id"] for stream in (*streams[1:], other_device)] == [1] * 6

    def test_a_server_that_stops(self, user: EndUser, token: str):
        with running_server() as server:
            stream = server.stream(token)
            server.process.terminate()
            assert stream.event()["data"] == {"reason": "shutdown"}
            assert stream.event() == {}
            assert server.process.wait(20) in (0, -15)


@pytest.mark.core
class TestJSON:
    @staticmethod
    def ask(server: Server, token: str, query: str = "", **headers: str) -> dict:
        answer = server.get(EVENTS + query, token=token, Accept="application/json", **headers)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        return json.loads(answer.read())

    def test_from_now(self, server: Server, user: EndUser, token: str):
        news(user, 3)
        assert self.ask(server, token) == {"events": [], "cursor": 3, "reset": False}

    def test_after_a_cursor_at_most_200(self, server: Server, user: EndUser, token: str):
        news(user, 205)
        first = self.ask(server, token, "?after=0")
        assert ([event["id"] for event in first["events"]], first["cursor"]) == (list(range(1, 201)), 200)
        second = self.ask(server, token, "?after=0", Last_Event_ID="200")
        assert ([event["id"] for event in second["events"]], second["cursor"]) == (list(range(201, 206)), 205)

    def test_it_waits_for_the_first_event(self, server: Server, user: EndUser, token: str):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.ask, server, token, "?after=0&wait=30")
            time.sleep(0.5)
            news(user)
            found = waiting.result(20)
        assert [event["id"] for event in found["events"]] == [1]

    def test_it_waits_no_longer_than_told(self, server: Server, token: str):
        assert self.ask(server, token, "?wait=1")["events"] == []

    def test_reset(self, server: Server, user: EndUser, token: str):
        news(user, 2)
        assert self.ask(server, token, "?after=7") == {"events": [], "cursor": 2, "reset": True}

    def test_a_device_revoked_meanwhile(self, server: Server, token: str):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(server.get, EVENTS + "?wait=30", token=token, Accept="application/json")
            time.sleep(0.5)
            tokens.revoke_device(device=Device.objects.get(digest=tokens.digest_of(token)))
            assert problem_of(waiting.result(20))[:2] == (401, "unauthenticated")


class TestRefusals:
    @pytest.mark.parametrize("query", ["?after=", "?after=x", "?after=-1", "?after=1.5", "?after=" + "9" * 30])
    @pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
    def test_a_bad_cursor(self, server: Server, token: str, query: str, accept: str):
        found = problem_of(server.get(EVENTS + query, token=token, Accept=accept))
        assert found == (400, "invalid_cursor", "application/problem+json")

    def test_a_bad_last_event_id(self, server: Server, token: str):
        assert problem_of(server.get(EVENTS, token=token, Last_Event_ID="x"))[:2] == (400, "invalid_cursor")

    @pytest.mark.parametrize("query", ["?colour=red", "?wait=31", "?wait=-1", "?wait=x", "?wait="])
    def test_a_bad_parameter(self, server: Server, token: str, query: str):
        answer = server.get(EVENTS + query, token=token, Accept="application/json")
        assert problem_of(answer) == (400, "invalid", "application/problem+json")

    def test_no_token(self, server: Server, db):
        answer = server.get(EVENTS)
        assert problem_of(answer) == (401, "unauthenticated", "application/problem+json")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_an_expired_token(self, server: Server, user: EndUser):
        assert problem_of(server.get(EVENTS, token=device_token(user, days=-1)))[:2] == (401, "token_expired")

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
    def test_another_method(self, server: Server, token: str, method: str):
        answer = server.request(method, EVENTS, token=token)
        assert problem_of(answer) == (405, "method_not_allowed", "application/problem+json")
        assert answer.headers["Allow"] == "GET"


@pytest.mark.core
class TestTheRest:
    def test_everything_else_goes_to_the_wsgi_application(self, server: Server, token: str, user: EndUser):
        answer = server.get("/api/v1/session/", token=token)
        assert (answer.status, json.loads(answer.read())["user"]["id"]) == (200, str(user.pk))

    def test_open_streams_are_counted(self, server: Server, token: str):
        stream = server.stream(token)
        metrics = server.get("/metrics").read().decode()
        stream.close()
        found = re.search(r"^portal_event_streams (\S+)$", metrics, re.MULTILINE)
        assert found is not None
        assert float(found[1]) >= 1

    def test_a_session_and_a_stream_from_its_cursor_miss_nothing(self, server: Server, user: EndUser, token: str):
        news(user, 2)
        cursor = json.loads(server.get("/api/v1/session/", token=token).read())["cursor"]
        news(user, 2)
        stream = server.stream(token, f"?after={cursor}")
        assert [stream.event()["id"] for _ in range(2)] == [3, 4]

    def test_headers_with_underscores_and_odd_queries_do_no_harm(self, server: Server, token: str):
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        client.putrequest("GET", "/api/v1/session/?caf%C3%A9=1")
        client.putheader("Authorization", f"Bearer {token}")
        client.putheader("X_Forwarded_For", "203.0.113.9")
        client.endheaders()
        assert problem_of(client.getresponse())[:2] == (400, "invalid")

    def test_a_body_without_a_length_is_read(self, server: Server, token: str):
        answer = server.request("PATCH", "/api/v1/settings/", token=token, body={"sms_docked": False}, chunked=True)
        assert (answer.status, json.loads(answer.read())["sms_docked"]) == (200, False)
