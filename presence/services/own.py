"""What users say of themselves: available, away, busy or not to be disturbed (contracts section 5)."""

from __future__ import annotations

from django.db import transaction

from portal import clock
from portal.models import EndUser
from portal.problems import invalid
from portal.xml_text import require_legal
from presence.models import OwnStatus
from presence.services.telling import tell_presence_changed
from presence.states import ALIASES, OWN_STATUSES, Status

LONGEST_MESSAGE = 500


def set_own_status(*, user: EndUser, status: str | None, message: str = "") -> None:
    """Keep what the user says until it is changed or cleared, also while no client is open. None clears both.

    It is no setting of anybody's but a state, so there is no audit row. Raises Problem `invalid`, `illegal_characters`
    (400): presence servers are told the message.
    """
    chosen = _chosen(status)
    if len(message) > LONGEST_MESSAGE:
        raise invalid(message=f"A message has at most {LONGEST_MESSAGE} characters.")
    require_legal(message, "message")
    with transaction.atomic():
        if chosen is None:
            changed = OwnStatus.objects.filter(user=user).delete()[0] > 0
        else:
            changed = not OwnStatus.objects.filter(user=user, status=chosen, message=message).exists()
            values = {"status": chosen, "message": message, "at": clock.now()}
            if changed:
                OwnStatus.objects.update_or_create(user=user, defaults=values)
        if changed:
            tell_presence_changed([user.pk])


def _chosen(status: str | None) -> Status | None:
    if status is None:
        return None
    word = ALIASES.get(status, status)
    if word not in OWN_STATUSES:
        raise invalid(status=f"Choose one of {', '.join(OWN_STATUSES)}, or null.")
    return Status(word)
