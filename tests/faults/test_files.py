"""Files while parts die: nothing half stored, nothing left behind, nothing lost (S1.37, R18)."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from cpaas.tests.files import picture
from portal.tests.factories import EndUserFactory, device_token
from tests.e2e.clients import Device
from tests.faults.stage import Stage
from tests.faults.tcp_gate import Gate
from tests.faults.traffic import Town
from tests.faults.web_process import WebProcess
from tests.sandbox_process import wait_for

pytestmark = pytest.mark.fault
PHOTO = picture("JPEG", (320, 240))


def upload(device: Device) -> requests.Response:
    return device.call("POST", "attachments/", files={"file": ("photo.jpg", PHOTO)})


def files_on(stage: Stage) -> set[Path]:
    return {path for path in stage.var_disk.path.glob("media/**/*") if path.is_file()}


@contextmanager
def slow_ends(stage: Stage, state: str) -> Iterator[None]:
    """Whoever says that a file is there waits for a minute before."""
    with psycopg.connect(stage.postgres.url, autocommit=True) as connection:
        connection.execute(
            f"""CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
                CREATE TRIGGER linger BEFORE UPDATE ON cpaas_attachment FOR EACH ROW WHEN (NEW.state = '{state}')
                EXECUTE FUNCTION linger()"""
        )
        try:
            yield
        finally:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            connection.execute("DROP FUNCTION linger CASCADE")


def test_upload_killed(town: Town, stage: Stage) -> None:
    """The web server dies when the file is stored and nobody has been told: it is taken away a day later."""
    device, before = town.lines[0].device, files_on(stage)
    with slow_ends(stage, "unused"):
        outcome: list[Any] = []
        sender = threading.Thread(target=lambda: outcome.append(_or_error(lambda: upload(device))))
        sender.start()
        wait_for(lambda: len(files_on(stage) - before) == 2, what="the file and its thumbnail")
        stage.web.kill()
        sender.join(60)
    assert isinstance(outcome[0], requests.RequestException)
    stage.web.start()
    stage.wait_until_whole()
    assert upload(device).status_code == 201
    stage.rows(
        "UPDATE cpaas_attachment SET created_at = now() - interval '25 hours' WHERE state = 'uploading' RETURNING id"
    )
    stage.manage("purge")
    assert len(files_on(stage) - before) == 2
    assert stage.rows("SELECT * FROM cpaas_attachment WHERE state IN ('uploading', 'gone')") == []


def test_media_fetch_killed(town: Town, stage: Stage) -> None:
    """The worker dies with the file in its hands: another one fetches it again, and nothing of the first try stays."""
    line, before = town.lines[0], files_on(stage)
    item = {"name": "photo.jpg", "content_type": "image/jpeg", "base64": base64.b64encode(PHOTO).decode()}
    with slow_ends(stage, "stored"):
        town.carrier.inbound("+17036089795", line.number, "From the beach", media=[item])
        wait_for(lambda: len(files_on(stage) - before) == 2, what="the file and its thumbnail")
        stage.tasks.kill()
    stage.tasks.start()
    # Its claim would stand for minutes yet.
    stage.rows("UPDATE cpaas_attachment SET next_try_at = now() WHERE state = 'waiting' RETURNING id")
    [conversation] = line.device.get("conversations/?q=7036089795")["results"]
    newest = f"messages/{conversation['last_message']['id']}/"
    message = wait_for(lambda: _with_file(line.device.get(newest)), 240, "the file")
    [file] = message["attachments"]
    assert (message["text"], message["media_waiting"]) == ("From the beach", 0)
    assert requests.get(file["url"], timeout=60).content == PHOTO
    [number] = town.tenant.staff.get(f"numbers/?number={line.number.removeprefix('+')}")["results"]
    town.tenant.staff.post(f"numbers/{number['id']}/delete-messages/", status=200)
    assert requests.get(file["url"], timeout=60).status_code == 404
    assert files_on(stage) == before


def test_disk_full_on_upload(town: Town, stage: Stage) -> None:
    """The client hears that there is no room and when to come back; nothing half stored stays."""
    device, before = town.lines[0].device, files_on(stage)
    stage.var_disk.fill()
    refused = upload(device)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert "no room" in refused.json()["detail"]
    assert refused.headers["Retry-After"]
    assert files_on(stage) == before
    stage.var_disk.clear()
    file = upload(device).json()
    assert requests.get(file["url"], timeout=60).content == PHOTO


@pytest.mark.django_db(transaction=True)
def test_database_away_on_upload(gate: Gate, web: WebProcess, tmp_path: Path) -> None:
    """The client hears 503, and of a file too; nothing is stored, and all goes on by itself."""
    client = {"Authorization": f"Bearer {device_token(EndUserFactory())}"}

    def post() -> requests.Response:
        file = {"file": ("photo.jpg", PHOTO)}
        return requests.post(f"{web.url}/api/v1/attachments/", files=file, headers=client, timeout=60)

    file = post().json()
    before = set(tmp_path.glob("media/**/*"))
    gate.cut()
    refused = post()
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert requests.get(file["url"], timeout=60).status_code == 503
    assert set(tmp_path.glob("media/**/*")) == before
    gate.open()
    assert requests.get(file["url"], timeout=60).content == PHOTO
    assert post().status_code == 201


def _or_error(work: Any) -> Any:
    try:
        return work()
    except requests.RequestException as error:
        return error


def _with_file(message: Any) -> Any:
    return message if message["attachments"] else None
