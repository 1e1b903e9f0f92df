"""What a client needs at its start: one object, to which each app adds its part (S1.1)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from portal import extensions
from portal.countries import calling_code
from portal.events.rendering import Viewer
from portal.models import EndUser, EventStream, UserSettings

SETTINGS = [field.name for field in UserSettings._meta.concrete_fields if field.name != "user"]


def session_object(user: EndUser) -> dict[str, Any]:
    """`GET session/`. The cursor is read before the rest, so that whoever starts a stream there misses nothing."""
    session: dict[str, Any] = {
        "cursor": newest_event(user),
        "user": user_object(user),
        "licence": user.licence,
        "features": {"sms": False, "xmpp": False, "unique_account": False, "contact_centre": False},
        "settings": settings_object(settings_of(user)),
        "numbers": [],
        "new": {"conversations": 0, "messages": 0, "missed_calls": 0},
    }
    for contribute in extensions.session_contributors:
        for name, part in contribute(user).items():
            session[name] = session[name] | part if isinstance(part, Mapping) and name in session else part
    return session


def render_sessions(wanted: Mapping[Viewer, Sequence[uuid.UUID]]) -> dict[tuple[uuid.UUID, uuid.UUID], dict[str, Any]]:
    """The objects of `session.updated` events; they are seldom, so each user's is read by itself."""
    users = EndUser.objects.filter(pk__in=[user.pk for user in wanted]).select_related("system_provider")
    return {(user.pk, user.pk): session_object(user) for user in users}


def newest_event(user: EndUser) -> int:
    """The number of the user's last event, 0 before the first."""
    return EventStream.objects.filter(pk=user.pk).values_list("last_id", flat=True).first() or 0


def settings_of(user: EndUser) -> UserSettings:
    return UserSettings.objects.filter(pk=user.pk).first() or UserSettings(user=user)


def settings_object(settings: UserSettings) -> dict[str, Any]:
    values = {name: getattr(settings, name) for name in SETTINGS}
    return {**values, "country_code": calling_code(settings.default_country)}


def user_object(user: EndUser) -> dict[str, Any]:
    """The user as their own client sees them."""
    provider = user.system_provider
    return {
        "id": str(user.pk),
        "login": user.login,
        "name": user.name,
        "email": user.email,
        "group": str(user.group_id),
        "country": user.country or provider.default_country,
        "time_zone": user.time_zone or provider.time_zone,
    }
