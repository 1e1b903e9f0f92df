"""Files open by their address alone, so none may be guessed from anything somebody can know (contracts section 3)."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client

from cpaas.models import Attachment
from tests.isolation.conftest import Stage
from tests.isolation.routes import all_routes
from tests.isolation.world import ZENITH

pytestmark = [pytest.mark.django_db, pytest.mark.same_values]


def test_no_address_is_made_of_what_somebody_knows(stage: Stage) -> None:
    """Ids of every row of the stranger, and addresses that are nearly right, are like one that never was."""
    party = stage.world[ZENITH]
    rows = party.rows[Attachment]
    name = rows[0].url_name
    tokens = [str(row.pk) for found in party.rows.values() for row in found]
    tokens += [uuid.UUID(key).hex[:22] for key in party.ids]
    near = [row.token[:-1] + ("A" if row.token[-1] != "A" else "B") for row in rows]
    never = Client().get(f"/files/{uuid.uuid4().hex[:22]}/{name}")
    assert never.status_code == 404
    for token in [*tokens, *near]:
        answer = Client().get(f"/files/{token}/{name}")
        assert (answer.status_code, answer.content) == (404, never.content), token
    for guess in ("", "thumbnail.jpg", "index.html", str(rows[0].pk)):
        assert Client().get(f"/files/{rows[0].token}/{guess}").status_code == 404


def test_only_files_open_by_their_address() -> None:
    assert [str(route) for route in all_routes() if route.opens_by_address] == ["/files/<str:token>/<str:name>"]
