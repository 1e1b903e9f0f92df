"""Switching Integrated IM&P of a user on and off, as staff do."""

from __future__ import annotations

from portal.models import EndUser
from portal.services.users import update_user


def switch_service(user: EndUser, changes: dict[str, bool]) -> None:
    update_user(actor=None, user=user, changes={}, parts={"integrated_imp": changes})
