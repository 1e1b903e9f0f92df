"""Files that come in with a message: fetched at once, tried again, and never trusted (S4.18, complaints 7 and 8)."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from django.db import transaction
from django.test import Client

from cpaas.carriers.base import HttpRequest, InboundText
from cpaas.models import Attachment, Conversation, CpaasNumber, Message
from cpaas.services import media
from cpaas.services.discarding import discard_gone
from cpaas.services.inbound import receive_text
from cpaas.services.media import WAITS_S, fetch_due_media
from cpaas.services.numbers import delete_messages
from cpaas.tests.factories import CpaasNumberFactory
from cpaas.tests.files import EXE, HTML, PDF, SAMPLES
from portal import clock
from portal.events import News
from portal.models import Event

REMOTE = "+17036089795"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


class Host(BaseHTTPRequestHandler):
    """Some host in the world with files; notes what it was asked, and with which keys."""

    files: ClassVar[dict[str, tuple[int, dict[str, str], bytes]]] = {}
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        status, headers, body = self.files.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", headers.get("X-Length", str(len(body))))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def host() -> Iterator[str]:
    Host.files.clear()
    Host.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def own(settings: Any, tmp_path: Path, db: None) -> CpaasNumber:
    settings.MEDIA_ROOT = tmp_path
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    return CpaasNumberFactory()


def receive(number: CpaasNumber, *urls: str, text: str = "Look", to: tuple[str, ...] = ()) -> None:
    recipients = to or (number.number,)
    inbound = InboundText("sid-1", REMOTE, recipients, text, urls)
    news = News()
    with transaction.atomic():
        receive_text(platform_id=number.platform_id, text=inbound, news=news, at=clock.now())
        news.write()


def serve(path: str, body: bytes = b"", status: int = 200, **headers: str) -> None:
    Host.files[path] = status, {name.replace("_", "-"): value for name, value in headers.items()}, body


def due_again() -> None:
    Attachment.objects.filter(state="waiting").update(next_try_at=clock.now() - timedelta(seconds=1))


def events_of(number: CpaasNumber) -> list[str]:
    return list(Event.objects.filter(user=number.user).order_by("number").values_list("type", flat=True))


def stored(settings: Any) -> list[Path]:
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]


def test_s4_18_a_picture_comes_in_with_mms_off_and_is_told_when_it_is_here(
    hooked: CpaasNumber, sandbox, api, settings, tmp_path
) -> None:
    """Over the real wire: webhook, simulated carrier, storage, our own address of it."""
    from portal.tests.factories import device_token

    settings.MEDIA_ROOT = tmp_path
    assert not hooked.mms_effective
    item = {"name": "photo.jpg", "content_type": "image/jpeg", "base64": base64.b64encode(SAMPLES[".jpg"]).decode()}
    sandbox.inbound(**{"from": REMOTE, "to": hooked.number, "text": "Look", "media": [item, item]})
    client = api(device_token(hooked.user))
    before = client.get(f"/api/v1/messages/{Message.objects.get().pk}/").json()
    assert (before["text"], before["kind"], before["status"]) == ("Look", "mms", "received")
    assert (before["attachments"], before["media_waiting"]) == ([], 2)
    assert fetch_due_media() == 2
    message = client.get(f"/api/v1/messages/{before['id']}/").json()
    assert (message["media_waiting"], message["media_failed"], len(message["attachments"])) == (0, 0, 2)
    file = message["attachments"][0]
    assert (file["name"], file["content_type"], file["as"]) == ("photo.jpg", "image/jpeg", "mms")
    answer = Client().get(file["url"].removeprefix(settings.PUBLIC_URL))
    assert b"".join(answer.streaming_content) == SAMPLES[".jpg"]
    assert events_of(hooked) == ["message.created", "conversation.updated", "message.updated", "message.updated"]


def test_a_carrier_that_has_it_only_later_is_asked_again(own: CpaasNumber, host: str) -> None:
    receive(own, f"{host}/late.png")
    for wait in WAITS_S[:3]:
        assert fetch_due_media() == 1
        row = Attachment.objects.get()
        assert (row.state, "404" in row.error) == ("waiting", True)
        assert timedelta(seconds=wait - 1) < row.next_try_at - clock.now() <= timedelta(seconds=wait)
        assert fetch_due_media() == 0
        due_again()
    serve("/late.png", SAMPLES[".png"])
    fetch_due_media()
    assert Attachment.objects.get().state == "stored"


def test_what_never_comes_is_given_up_and_told(own: CpaasNumber, host: str) -> None:
    receive(own, f"{host}/never.png")
    for _ in range(len(WAITS_S) + 1):
        due_again()
        fetch_due_media()
    row = Attachment.objects.get()
    assert (row.state, row.tries) == ("failed", len(WAITS_S) + 1)
    assert events_of(own)[-1] == "message.updated"
    due_again()
    assert fetch_due_media() == 0


def test_a_name_that_cannot_be_read_keeps_no_other_file_waiting(own: CpaasNumber, host: str) -> None:
    serve("/odd.png", SAMPLES[".png"], Content_Disposition="attachment; filename*=latin-99''odd.png")
    serve("/plain.png", SAMPLES[".png"])
    receive(own, f"{host}/odd.png", f"{host}/plain.png")
    assert fetch_due_media() == 2
    assert set(Attachment.objects.values_list("state", flat=True)) == {"stored"}


def test_a_carrier_that_does_not_answer_keeps_no_file_of_others_waiting(
    own: CpaasNumber, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("/plain.png", SAMPLES[".png"])
    monkeypatch.setattr(media, "_TIMEOUT_S", 0.2)
    monkeypatch.setattr(media, "_SLOW_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        receive(own, f"{url}/1.png", f"{url}/2.png", f"{url}/3.png")
        other = CpaasNumberFactory()
        assert other.platform != own.platform
        receive(other, f"{host}/plain.png")
        assert fetch_due_media() == 2
    assert [row.state for row in Attachment.objects.filter(number=other)] == ["stored"]
    waiting = Attachment.objects.filter(number=own).order_by("-tries")
    assert [row.tries for row in waiting] == [1, 0, 0]
    assert all(row.next_try_at > clock.now() + timedelta(seconds=50) for row in waiting)


def test_keys_go_to_the_carrier_and_not_to_where_it_points(own: CpaasNumber, host: str, monkeypatch) -> None:
    """The adapter is asked anew at each redirect; a redirect in a circle ends."""
    other = host.replace("127.0.0.1", "localhost")

    def media_request(self: Any, account: Any, url: str) -> HttpRequest:
        headers = {"Authorization": "Basic our-keys"} if url.startswith(host) else {}
        return HttpRequest("GET", url, headers)

    monkeypatch.setattr("cpaas.carriers.inteliquent.Inteliquent.media_request", media_request)
    serve("/first", status=302, Location=f"{other}/second.pdf")
    serve("/second.pdf", PDF)
    serve("/circle", status=302, Location="/circle")
    receive(own, f"{host}/first", f"{host}/circle")
    fetch_due_media()
    assert ("/first", "Basic our-keys") in Host.asked
    assert ("/second.pdf", "") in Host.asked
    assert sorted(Attachment.objects.values_list("state", "name")) == [("stored", "second.pdf"), ("waiting", "")]


def test_no_link_leads_into_our_own_network(own: CpaasNumber, host: str, settings) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    serve("/secret", b"ours")
    receive(own, f"{host}/secret", "http://169.254.169.254/latest/meta-data", f"{host.replace('http', 'ftp')}/x")
    fetch_due_media()
    assert set(Attachment.objects.values_list("state", flat=True)) == {"failed"}
    assert Host.asked == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [(HTML, "text/plain"), (EXE, "application/octet-stream"), (b"\0\1\2", "application/octet-stream")],
)
def test_whatever_comes_in_is_kept_and_never_a_page(own: CpaasNumber, host: str, body: bytes, kind: str) -> None:
    serve("/page.html", body, Content_Type="text/html", Content_Disposition='inline; filename="x.html"')
    receive(own, f"{host}/page.html")
    fetch_due_media()
    row = Attachment.objects.get()
    answer = Client().get(f"/files/{row.token}/{row.url_name}")
    assert answer.headers["Content-Type"] == row.content_type == kind
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert b"".join(answer.streaming_content) == body


def test_too_large_a_file_is_given_up(own: CpaasNumber, host: str, monkeypatch, settings) -> None:
    monkeypatch.setattr(media, "LARGEST_FILE", 1000)
    serve("/large.txt", b"x" * 1001)
    receive(own, f"{host}/large.txt")
    fetch_due_media()
    assert Attachment.objects.get().state == "failed"
    assert stored(settings) == []


def test_half_a_file_is_no_file(own: CpaasNumber, host: str) -> None:
    serve("/half.txt", b"only the beg", X_Length="1000")
    serve("/empty.txt", b"")
    receive(own, f"{host}/half.txt", f"{host}/empty.txt")
    fetch_due_media()
    assert set(Attachment.objects.values_list("state", flat=True)) == {"waiting"}


def test_each_own_number_of_a_group_gets_its_own_copy(own: CpaasNumber, host: str, settings) -> None:
    other = CpaasNumberFactory(platform=own.platform, user__group=own.group)
    serve("/a.txt", b"for all")
    receive(own, f"{host}/a.txt", to=(own.number, other.number))
    fetch_due_media()
    assert Attachment.objects.filter(state="stored").count() == 2
    delete_messages(actor=None, number=own)
    [left] = Attachment.objects.all()
    assert (left.number_id, len(stored(settings))) == (other.pk, 1)
    assert Client().get(f"/files/{left.token}/{left.url_name}").status_code == 200


def test_r8_held_texts_have_their_files_and_suppressed_ones_none(own: CpaasNumber, host: str) -> None:
    serve("/a.txt", b"held")
    CpaasNumber.objects.update(opt_in_state="declined")
    receive(own, f"{host}/a.txt")
    assert fetch_due_media() == 0
    Conversation.objects.all().delete()
    CpaasNumber.objects.update(opt_in_state="pending")
    receive(own, f"{host}/a.txt")
    assert fetch_due_media() == 1
    assert (Message.objects.get().status, Attachment.objects.get().state) == ("held", "stored")
    assert events_of(own) == []


def test_a_message_deleted_while_its_file_is_on_the_way_leaves_nothing(
    own: CpaasNumber, host: str, monkeypatch, settings
) -> None:
    serve("/a.txt", b"late")
    receive(own, f"{host}/a.txt")
    write = media.write_files

    def write_late(row: Attachment, content: Any) -> None:
        delete_messages(actor=None, number=own)
        write(row, content)

    monkeypatch.setattr(media, "write_files", write_late)
    fetch_due_media()
    assert stored(settings) == []
    # The row waits until nobody can be fetching any more.
    assert Attachment.objects.filter(state="gone").exists()
    Attachment.objects.update(next_try_at=clock.now())
    discard_gone()
    assert not Attachment.objects.exists()


def test_a_worker_that_died_is_followed_by_another_and_leaves_no_file_behind(
    own: CpaasNumber, host: str, monkeypatch, settings
) -> None:
    serve("/a.txt", b"at last")
    receive(own, f"{host}/a.txt")
    with monkeypatch.context() as dying:
        dying.setattr(media, "_finish", lambda row: None)  # killed after the file was written
        fetch_due_media()
    assert (len(stored(settings)), fetch_due_media()) == (1, 0)
    due_again()
    fetch_due_media()
    assert (Attachment.objects.get().state, len(stored(settings))) == ("stored", 2)
    delete_messages(actor=None, number=own)
    assert stored(settings) == []


def test_a_storage_that_is_full_is_tried_again(own: CpaasNumber, host: str, monkeypatch, settings) -> None:
    serve("/a.txt", b"patience")
    receive(own, f"{host}/a.txt")
    with monkeypatch.context() as full:
        full.setattr("cpaas.services.attachments.default_storage.save", lambda *_: (_ for _ in ()).throw(OSError(28)))
        fetch_due_media()
    assert Attachment.objects.get().state == "waiting"
    due_again()
    fetch_due_media()
    assert Attachment.objects.get().state == "stored"
