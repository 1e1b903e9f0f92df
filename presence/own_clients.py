"""The source of our own clients: what users say of themselves, and whether a client of theirs is open."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

from presence.merge import Kind, Report
from presence.models import OwnStatus
from presence.services.online import online_among
from presence.states import Status

SOURCE = "own"


class OwnClients:
    """Reports of everybody: a chosen status, and beside it the sign of an open client, or of none."""

    def reports_of(self, user_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, list[Report]]:
        online = online_among(user_ids)
        found = {key: [_client(Status.AVAILABLE if key in online else Status.OFFLINE)] for key in user_ids}
        for chosen in OwnStatus.objects.filter(pk__among=list(user_ids)):
            report = Report(Kind.OWN, SOURCE, Status(chosen.status), message=chosen.message, at=chosen.at)
            found[chosen.pk].insert(0, report)
        return found


def _client(status: Status) -> Report:
    return Report(Kind.OWN, SOURCE, status, implied=True)
