"""Files of users: uploaded, sent as MMS or as a link, opened, and gone with their message (S1.37–S1.39, R12–R14)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from PIL import Image

from cpaas.models import Attachment, CpaasNumber, CpaasPlatform, Message
from cpaas.segments import count_segments
from cpaas.services.discarding import discard_abandoned, discard_gone
from cpaas.services.numbers import delete_messages, delete_number
from cpaas.services.retention import purge
from cpaas.services.transferring import transfer_number
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from cpaas.tests.files import EXE, MP4, PDF, SAMPLES, picture
from portal.models import IdempotencyKey
from portal.tests.tenants import Tenant

BASE = "/api/v1/"
REMOTE = "+17326643222"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


@pytest.fixture
def platform(tenant: Tenant) -> CpaasPlatform:
    return CpaasPlatformFactory(system_provider=tenant.system_provider, mms=True)


@pytest.fixture
def number(tenant: Tenant, platform: CpaasPlatform) -> CpaasNumber:
    return CpaasNumberFactory(number="+12019920770", user=tenant.user, platform=platform)


@pytest.fixture
def client(api: Any, tenant: Tenant) -> Any:
    return api(tenant.device_token)


@pytest.fixture
def stored(settings: Any, tmp_path: Path) -> Any:
    """The files in the storage."""
    settings.MEDIA_ROOT = tmp_path

    def files() -> list[Path]:
        return [path for path in tmp_path.rglob("*") if path.is_file()]

    return files


def upload(client: Any, name: str = "photo.jpg", content: bytes = SAMPLES[".jpg"], **headers: str) -> Any:
    file = SimpleUploadedFile(name, content)
    return client.post(f"{BASE}attachments/", {"file": file}, format="multipart", headers=headers)


def uploaded(client: Any, *arguments: Any) -> dict[str, Any]:
    answer = upload(client, *arguments)
    assert answer.status_code == 201, answer.content
    return answer.json()


def send(client: Any, *ids: str, text: str = "Look", status: int = 202) -> Any:
    answer = client.post(f"{BASE}messages/", {"to": REMOTE, "text": text, "attachments": list(ids)})
    assert answer.status_code == status, answer.content
    return answer.json()


def get(url: str, **headers: str) -> Any:
    return Client().get(url.removeprefix("http://127.0.0.1:8000"), headers=headers)


def body_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


class TestUpload:
    def test_s1_37_a_file_is_taken_in_and_opens_without_a_token(self, client, number, stored) -> None:
        found = uploaded(client, "Grüße aus Köln.pdf", PDF)
        assert (found["name"], found["content_type"], found["size"]) == (
            "Grüße aus Köln.pdf",
            "application/pdf",
            len(PDF),
        )
        assert (found["as"], found["thumbnail_url"]) == ("link", None)
        assert found["url"].endswith("/Grue-aus-Koln.pdf") or found["url"].endswith("/Gru-e-aus-Koln.pdf")
        assert body_of(get(found["url"])) == PDF
        assert len(stored()) == 1

    def test_s1_39_what_is_not_on_the_list_is_415_with_the_list(self, client, stored) -> None:
        answer = upload(client, "setup.exe", EXE)
        assert (answer.status_code, answer.json()["code"]) == (415, "type_not_allowed")
        assert ".txt, .mpeg, .mp3, .mp4, .pdf, .jpeg, .jpg, .bmp, .png, .gif, .csv" in answer.json()["detail"]
        assert upload(client, "photo.jpg", EXE).json()["code"] == "type_not_allowed"
        assert (stored(), Attachment.objects.count()) == ([], 0)

    def test_more_than_25_mb_are_413(self, client, stored) -> None:
        just_right, too_large = b"x" * (25 * 1024 * 1024), b"x" * (25 * 1024 * 1024 + 1)
        assert uploaded(client, "a.txt", just_right)["size"] == 25 * 1024 * 1024
        for content in (too_large, too_large + b"x" * 100_000):
            answer = upload(client, "a.txt", content)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
            assert "25 MB" in answer.json()["detail"]
        assert len(stored()) == 1

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({}, 400, "invalid"),
            ({"file": "a text"}, 400, "invalid"),
            ({"other": "x"}, 400, "invalid"),
            ({"file": [SimpleUploadedFile("a.pdf", PDF), SimpleUploadedFile("b.pdf", PDF)]}, 400, "invalid"),
            ({"files": SimpleUploadedFile("a.pdf", PDF)}, 400, "invalid"),
            ({"file": SimpleUploadedFile("a.txt", b"")}, 400, "invalid"),
        ],
    )
    def test_a_body_that_is_no_file_is_refused_by_name(self, client, stored, body, status, code) -> None:
        answer = client.post(f"{BASE}attachments/", body, format="multipart")
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert set(answer.json()["errors"]) & {"file", "files", "other"}
        assert stored() == []

    @pytest.mark.parametrize("body", [b"", b"--b\r\nno form", b"x" * 500, b"--b\r\nContent-Disposition: form-data;"])
    @pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "multipart/form-data", "application/json"])
    def test_a_broken_form_is_refused(self, client, stored, body: bytes, kind: str) -> None:
        answer = client.post(f"{BASE}attachments/", body, content_type=kind)
        assert answer.status_code in (400, 415), answer.content
        assert Attachment.objects.count() == 0

    def test_an_upload_that_broke_off_is_not_taken_for_a_whole_one(self, client, stored) -> None:
        form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nonly the beginn'
        wire = {"wsgi.input": BytesIO(form), "CONTENT_LENGTH": "5000"}
        answer = client.post(f"{BASE}attachments/", b"", content_type="multipart/form-data; boundary=b", **wire)
        assert (answer.status_code, Attachment.objects.count()) == (400, 0)

    def test_the_same_key_stores_once(self, client, stored) -> None:
        key = {"Idempotency-Key": "k"}
        first, second = upload(client, **key), upload(client, **key)
        assert (first.status_code, first.json()) == (201, second.json())
        assert len(stored()) == 2  # the picture and its thumbnail
        assert upload(client, "b.pdf", PDF, **key).json()["code"] == "idempotency_mismatch"

    def test_a_stolen_token_does_not_fill_the_storage(self, client, stored, monkeypatch) -> None:
        monkeypatch.setattr("cpaas.services.attachments._MOST_UNUSED_BYTES", 2 * len(PDF))
        for _ in range(2):
            uploaded(client, "a.pdf", PDF)
        assert upload(client, "a.pdf", PDF).json()["code"] == "too_many_files"

    def test_a_full_storage_is_said_and_leaves_nothing(self, client, stored, settings, tmp_path: Path) -> None:
        (tmp_path / "attachments").write_text("in the way of the folder")
        answer = upload(client)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "room" in answer.json()["detail"]
        assert answer.headers["Retry-After"] == "60"
        assert not Attachment.objects.exclude(state="gone").exists()

    def test_a_picture_has_a_small_upright_picture_that_tells_nothing(self, client, stored) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # lying on its side
        exif[0x010F] = "Camera of Anna"
        content = picture("JPEG", (640, 480), exif=exif.tobytes(), comment=b"At home with Anna")
        found = uploaded(client, "photo.jpg", content)
        answer = get(found["thumbnail_url"])
        small = body_of(answer)
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert b"Anna" in content
        assert b"Anna" not in small
        with Image.open(BytesIO(small)) as opened:
            assert opened.size == (240, 320)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("points.png", lambda: picture("PNG", (6000, 5000))),
            # 3 MB that a decoder would make 180 MB of, and one that it would go through 1,000 times.
            ("points.jpg", lambda: picture("JPEG", (6000, 5000), progressive=True)),
            ("scans.jpg", lambda: scanned_again(picture("JPEG", progressive=True), 1000)),
        ],
    )
    def test_a_bomb_of_a_picture_gets_no_thumbnail(self, client, stored, name, content) -> None:
        found = uploaded(client, name, content())
        assert found["thumbnail_url"] is None

    @pytest.mark.parametrize("options", [{"size": (6000, 5000)}, {"progressive": True}])
    def test_a_photograph_gets_one_however_it_was_saved(self, client, stored, options) -> None:
        assert uploaded(client, "photo.jpg", picture("JPEG", **options))["thumbnail_url"]

    def test_a_picture_whose_notes_nobody_can_read_is_taken_all_the_same(self, client, stored) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # lying on its side
        exif[0x011A] = 72.0
        notes = exif.tobytes()
        # Says of the resolution that it is text, as some programs do.
        broken = notes.replace(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x02")
        assert broken != notes
        content = picture("JPEG", exif=broken)
        assert body_of(get(uploaded(client, "photo.jpg", content)["url"])) == content


def scanned_again(jpeg: bytes, times: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times."""
    start = jpeg.rindex(b"\xff\xda")
    return jpeg[:start] + jpeg[start:-2] * times + jpeg[-2:]


class TestSending:
    @pytest.mark.parametrize(
        ("name", "content", "way"),
        [
            ("a.jpg", SAMPLES[".jpg"], "mms"),
            ("a.png", SAMPLES[".png"], "mms"),
            ("a.gif", SAMPLES[".gif"], "mms"),
            ("a.mp4", MP4, "mms"),
            ("a.mp3", SAMPLES[".mp3"], "mms"),
            ("a.bmp", SAMPLES[".bmp"], "link"),
            ("a.mpeg", SAMPLES[".mpeg"], "link"),
            ("a.txt", SAMPLES[".txt"], "link"),
            ("a.csv", SAMPLES[".csv"], "link"),
            ("a.pdf", PDF, "link"),
            ("long.mp4", MP4 + b"\0" * 614_400, "link"),
        ],
    )
    def test_r14_what_goes_as_mms_and_what_as_a_link(self, client, number, stored, name, content, way) -> None:
        file = uploaded(client, name, content)
        assert file["as"] == way
        message = send(client, file["id"])
        assert (message["kind"], message["attachments"][0]["as"]) == ("mms" if way == "mms" else "sms", way)
        assert message["text"] == ("Look" if way == "mms" else f"Look\n{file['url']}")
        assert {**message["attachments"][0]} == file

    @pytest.mark.parametrize(("platform_mms", "own", "way"), [(True, "off", "link"), (False, "inherit", "link")])
    def test_r12_mms_is_platform_and_number(self, client, number, stored, platform_mms, own, way) -> None:
        CpaasPlatform.objects.update(mms=platform_mms)
        CpaasNumber.objects.filter(pk=number.pk).update(mms=own)
        file = uploaded(client)
        message = send(client, file["id"], text="")
        assert (message["kind"], message["text"]) == ("sms", file["url"])

    def test_r14_the_total_counts(self, client, number, platform, stored) -> None:
        CpaasPlatform.objects.update(options={"mms_limit_bytes": 2 * len(SAMPLES[".jpg"])})
        three = [uploaded(client)["id"] for _ in range(3)]
        assert send(client, *three[:2])["kind"] == "mms"
        more = [uploaded(client)["id"] for _ in range(2)]
        message = send(client, three[2], *more)
        assert (message["kind"], {file["as"] for file in message["attachments"]}) == ("sms", {"link"})
        assert message["text"].count("/files/") == 3

    def test_a_picture_goes_as_mms_beside_the_link_of_a_pdf(self, client, number, stored) -> None:
        photo, sheet = uploaded(client), uploaded(client, "a.pdf", PDF)
        message = send(client, photo["id"], sheet["id"])
        assert (message["kind"], [file["as"] for file in message["attachments"]]) == ("mms", ["mms", "link"])
        assert message["text"] == f"Look\n{sheet['url']}"

    def test_the_links_count_in_segments_preview_and_limit(self, client, number, stored) -> None:
        file = uploaded(client, "a.pdf", PDF)
        text = "x" * 150
        asked = {"to": REMOTE, "text": text, "attachments": [file["id"]]}
        preview = client.post(f"{BASE}messages/preview/", asked).json()
        wanted = count_segments(f"{text}\n{file['url']}")
        assert (preview["segments"], preview["characters"]) == (2, wanted.characters)
        assert preview["attachments"] == [{"id": file["id"], "as": "link"}]
        assert send(client, file["id"], text="x" * 1600, status=400)["code"] == "too_long"
        message = send(client, file["id"], text=text)
        assert (message["segments"], message["characters"]) == (2, wanted.characters)

    def test_a_file_goes_with_one_message_only(self, client, api, tenant, number, stored) -> None:
        file = uploaded(client)
        foreign = uploaded(api(tenant.device_tokens["colleague"]))
        assert send(client, file["id"], file["id"], status=400)["code"] == "unknown_attachment"
        assert send(client, foreign["id"], status=400)["code"] == "unknown_attachment"
        assert send(client, str(uuid.uuid4()), status=400)["code"] == "unknown_attachment"
        send(client, file["id"])
        assert send(client, file["id"], status=400)["code"] == "unknown_attachment"
        assert Message.objects.count() == 1

    def test_neither_text_nor_file_is_empty(self, client, number) -> None:
        assert send(client, text=" ", status=400)["code"] == "empty"

    def test_r22_a_resend_keeps_the_files(self, client, number, stored) -> None:
        message = send(client, uploaded(client)["id"])
        Message.objects.update(status="failed")
        again = client.post(f"{BASE}messages/{message['id']}/resend/").json()
        assert again["attachments"] == message["attachments"]
        assert again["kind"] == "mms"


class TestServing:
    @pytest.fixture
    def url(self, client, number, stored) -> str:
        return uploaded(client, "a.txt", b"0123456789")["url"]

    def test_the_headers_keep_it_from_running_as_a_page(self, url: str) -> None:
        answer = get(url)
        assert (answer.status_code, body_of(answer)) == (200, b"0123456789")
        assert answer.headers["Content-Type"] == "text/plain"
        assert answer.headers["Content-Length"] == "10"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="a.txt"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert "Set-Cookie" not in answer.headers

    @pytest.mark.parametrize(
        ("wanted", "status", "part", "where"),
        [
            ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
            ("bytes=7-", 206, b"789", "bytes 7-9/10"),
            ("bytes=-3", 206, b"789", "bytes 7-9/10"),
            ("bytes=-30", 206, b"0123456789", "bytes 0-9/10"),
            ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
            ("bytes=10-", 416, b"", "bytes */10"),
            ("bytes=-0", 416, b"", "bytes */10"),
            ("bytes=5-2", 416, b"", "bytes */10"),
            ("bytes=0-1,4-5", 200, b"0123456789", None),
            ("bytes=-", 200, b"0123456789", None),
            ("lines=1-2", 200, b"0123456789", None),
            (f"bytes=0-{'9' * 5000}", 200, b"0123456789", None),
        ],
    )
    def test_parts_of_it(self, url: str, wanted: str, status: int, part: bytes, where: str | None) -> None:
        answer = get(url, Range=wanted)
        content = body_of(answer) if answer.streaming else answer.content
        assert (answer.status_code, content, answer.headers.get("Content-Range")) == (status, part, where)
        if status != 416:
            assert answer.headers["Content-Length"] == str(len(part))

    def test_head_and_conditions(self, url: str) -> None:
        path = url.removeprefix("http://127.0.0.1:8000")
        head = Client().head(path)
        assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "10", b"")
        etag = head.headers["ETag"]
        assert get(url, **{"If-None-Match": etag}).status_code == 304
        assert get(url, Range="bytes=1-2", **{"If-Range": etag}).status_code == 206
        assert get(url, Range="bytes=1-2", **{"If-Range": '"other"'}).status_code == 200
        assert Client().post(path).status_code == 405

    def test_whatever_is_guessed_is_not_there(self, client, url: str) -> None:
        found = uploaded(client)
        row = Attachment.objects.get(pk=found["id"])
        token, name = url.rsplit("/", 2)[1:]
        for path in (
            f"{token}/b.txt",
            f"{token[:-1]}/{name}",
            f"{token}/thumbnail.jpg",
            f"{row.token}/thumbnail.jpg",
            f"{row.thumbnail_token}/{row.url_name}",
            f"{row.pk}/{row.url_name}",
            "x/y",
            "%00/%00",
            f"None/{row.url_name}",
        ):
            answer = Client().get(f"/files/{path}")
            assert (answer.status_code, answer.content) == (404, b"There is no such file, or it has expired."), path

    def test_the_web_server_in_front_may_hand_it_out(self, url: str, settings) -> None:
        settings.ACCEL_FILES = "/portal-files/"
        answer = get(url)
        where = Attachment.objects.get().path
        assert answer.headers["X-Accel-Redirect"] == f"/portal-files/{where}"
        assert (answer.content, answer.headers["Content-Type"]) == (b"", "text/plain")


class TestEnd:
    """R18: files go with their message, address and content."""

    @pytest.fixture
    def sent(self, client, number, stored) -> list[str]:
        """The addresses of a message's files and thumbnails."""
        photo, sheet = uploaded(client), uploaded(client, "a.pdf", PDF)
        send(client, photo["id"], sheet["id"])
        urls = [photo["url"], photo["thumbnail_url"], sheet["url"]]
        assert [get(url).status_code for url in urls] == [200] * 3
        return urls

    def end(self, urls: list[str], stored: Any) -> None:
        assert [get(url).status_code for url in urls] == [404] * 3
        assert stored() == []
        assert Attachment.objects.count() == 0

    def test_s4_39_deleting_the_messages(self, tenant, number, sent, stored) -> None:
        delete_messages(actor=tenant.administrator, number=number)
        self.end(sent, stored)

    def test_s4_40_deleting_the_number(self, tenant, number, sent, stored) -> None:
        delete_number(actor=tenant.administrator, number=number)
        self.end(sent, stored)

    def test_r23_giving_the_number_to_somebody_else(self, tenant, number, sent, stored) -> None:
        transfer_number(actor=tenant.administrator, number=number, user=tenant.colleague, delete_messages=True)
        self.end(sent, stored)

    def test_s1_21_the_purge(self, number, sent, stored) -> None:
        Message.objects.update(created_at=timezone.now() - timedelta(days=91))
        assert purge(dry_run=True).attachments == 2
        assert purge().attachments == 2
        self.end(sent, stored)

    def test_kept_answers_go_too(self, client, tenant, number, stored) -> None:
        file = upload(client, **{"Idempotency-Key": "k"}).json()
        send(client, file["id"])
        delete_messages(actor=tenant.administrator, number=number)
        assert not IdempotencyKey.objects.exists()

    def test_a_crash_between_the_commit_and_the_files_is_made_up_for(self, number, sent, stored, monkeypatch) -> None:
        """The process dies right after the transaction: addresses are dead, the files wait for the sweep."""
        monkeypatch.setattr("cpaas.services.deletion.discard_gone", lambda **_: 0)
        delete_messages(actor=None, number=number)
        assert [get(url).status_code for url in sent] == [404] * 3
        assert len(stored()) == 3
        assert discard_gone() == 2
        self.end(sent, stored)

    def test_what_the_storage_does_not_let_go_is_tried_again(self, number, sent, stored, monkeypatch) -> None:
        def refuse(path: str) -> None:
            raise PermissionError(path)

        with monkeypatch.context() as broken:
            broken.setattr("cpaas.services.discarding.default_storage.delete", refuse)
            delete_messages(actor=None, number=number)
        assert Attachment.objects.filter(state="gone").count() == 2
        discard_gone()
        self.end(sent, stored)

    def test_what_nobody_sent_goes_after_a_day(self, client, number, stored) -> None:
        old, young = uploaded(client), uploaded(client)
        half = Attachment.objects.create(state="uploading", name="half.jpg", tries=1, user=number.user)
        yesterday = timezone.now() - timedelta(hours=25)
        Attachment.objects.filter(pk__in=[old["id"], half.pk]).update(created_at=yesterday)
        assert discard_abandoned() == 2
        discard_gone()
        assert [str(row.pk) for row in Attachment.objects.all()] == [young["id"]]
        assert send(client, old["id"], status=400)["code"] == "unknown_attachment"
        assert (get(old["url"]).status_code, get(young["url"]).status_code) == (404, 200)
