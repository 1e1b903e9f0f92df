"""Files over the wire, through the server of `make run`: piece by piece, whatever the client says of their length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cpaas.models import Attachment
from portal.tests.factories import EndUserFactory, device_token
from portal.tests.servers import Server, running_server

pytestmark = pytest.mark.django_db(transaction=True)
MB = 1024 * 1024


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock():
        patch.setenv("MEDIA_ROOT", str(tmp_path_factory.mktemp("media")))
        with running_server() as running:
            yield running


@pytest.fixture
def post(server: Server) -> Any:
    token = device_token(EndUserFactory())

    def call(**what: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}", **what.pop("headers", {})}
        return requests.post(
            f"http://127.0.0.1:{server.port}/api/v1/attachments/", headers=headers, timeout=120, **what
        )

    return call


def peak_of(server: Server) -> int:
    """The most memory the server had so far, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_25_mb_are_taken_in_piece_by_piece(server: Server, post: Any) -> None:
    assert post(files={"file": ("small.txt", b"warm up")}).status_code == 201
    before = peak_of(server)
    answer = post(files={"file": ("large.txt", b"x" * 25 * MB)})
    assert (answer.status_code, answer.json()["size"]) == (201, 25 * MB)
    row = Attachment.objects.get(pk=answer.json()["id"])
    got = requests.get(f"http://127.0.0.1:{server.port}/files/{row.token}/{row.url_name}", timeout=120)
    assert len(got.content) == 25 * MB
    assert peak_of(server) - before < 15 * MB


def test_whoever_sends_too_much_gets_to_hear_it(post: Any) -> None:
    answer = post(files={"file": ("large.txt", b"x" * 40 * MB)})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(("size", "status"), [(10, 201), (3 * MB, 201), (27 * MB, 413)])
def test_a_form_without_a_length_is_read_whole(post: Any, size: int, status: int) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    pieces = iter([head, *(b"x" * min(MB, size - at) for at in range(0, size, MB)), b"\r\n--b--\r\n"])
    answer = post(data=pieces, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code == status, answer.text
    if status == 201:
        assert answer.json()["size"] == size
