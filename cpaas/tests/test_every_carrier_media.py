"""Pictures over the wire of each carrier that has MMS: behind the account, on another host, and late at times."""

from __future__ import annotations

import base64
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from cpaas.models import Attachment, CpaasNumber, Message
from cpaas.services.attachments import store_upload
from cpaas.services.media import fetch_due_media
from cpaas.services.sending import send_message
from cpaas.tests.files import SAMPLES
from cpaas.tests.running import DispatcherThread
from portal import clock
from tests.sandbox_process import CarrierControl, wait_for
from tests.simulated_carriers import SIMULATED

REMOTE = "+17036080001"
PHOTO = SAMPLES[".jpg"]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("wire", [code for code, kind in SIMULATED.items() if kind.has_mms], indirect=True),
]


@pytest.fixture(autouse=True)
def _own_folder(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def test_s4_18_every_picture_of_a_text_without_words_is_kept_and_no_layout(
    wired: CpaasNumber, wire: CarrierControl
) -> None:
    wire.carrier(media_misses=1)
    item = {"name": "photo.jpg", "content_type": "image/jpeg", "base64": base64.b64encode(PHOTO).decode()}
    wire.inbound(**{"from": REMOTE, "to": wired.number, "media": [item, {**item, "name": "second.jpg"}]})
    message = Message.objects.get()
    assert (message.text, message.kind) == ("", "mms")
    # Not there at first, then there.
    assert fetch_due_media() == 2
    assert set(Attachment.objects.values_list("state", flat=True)) == {"waiting"}
    Attachment.objects.update(next_try_at=clock.now() - timedelta(seconds=1))
    assert fetch_due_media() == 2
    rows = Attachment.objects.filter(message=message)
    assert sorted(rows.values_list("state", "content_type", "size")) == [("stored", "image/jpeg", len(PHOTO))] * 2


def test_s4_19_a_picture_goes_as_mms_and_the_carrier_can_fetch_it(wired: CpaasNumber, wire: CarrierControl) -> None:
    assert wired.user is not None
    file = store_upload(user=wired.user, name="photo.jpg", content=BytesIO(PHOTO), size=len(PHOTO))
    message = send_message(user=wired.user, number=wired, to=REMOTE, text="Look", attachments=[file])
    with DispatcherThread():
        wait_for(lambda: Message.objects.get(pk=message.pk).status == "sent", what="the picture to be sent")
    [taken] = wire.taken()
    [fetched] = taken["fetched"]
    assert (taken["kind"], taken["text"]) == ("mms", "Look")
    assert (fetched["http_status"], fetched["content_type"], fetched["content_length"]) == (
        200,
        "image/jpeg",
        len(PHOTO),
    )
