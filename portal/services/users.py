"""End users: made, changed and deleted by staff; their own settings by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models.deletion import ProtectedError

from portal.countries import require_country
from portal.events import publish
from portal.extensions import begin_user_parts, check_guards, login_password_rules, taking_back, tell_followers
from portal.models import Device, EndUser, Group, UserSettings
from portal.phone_numbers import InvalidNumber, parse_number
from portal.problems import Problem, conflict, invalid
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.changes import apply_changes, require_free_name, taken_name, validate
from portal.services.organisation import organisation_of, organisations_of
from portal.services.tenants import in_use_sentence

USER_FIELDS = {
    "login",
    "name",
    "email",
    "licence",
    "extension",
    "sip_uri",
    "mobile",
    "country",
    "time_zone",
    "voicemail_number",
    "is_active",
    "mailbox",
    "ring_seconds",
}
SETTINGS_FIELDS = {field.name for field in UserSettings._meta.concrete_fields if field.name != "user"}


def create_user(
    *,
    actor: Actor | None,
    group: Group,
    password: str = "",
    monitored: Iterable[EndUser] = (),
    parts: Mapping[str, Any] | None = None,
    **fields: Any,
) -> EndUser:
    """A new user of `group`. Settings start from the user's country, else the provider's (S1.15).

    `parts` are fields that other apps keep (`extensions.user_parts`). Raises Problem `invalid`, and theirs: then there
    is no user.
    """
    require_writer(actor)
    user = EndUser(group=group, reseller_id=group.reseller_id, system_provider_id=group.system_provider_id, **fields)
    _normalise(user)
    if password:
        _set_password(user, password)
    validate(user)
    require_free_name(user, "login")
    steps = begin_user_parts(actor, user, parts or {})
    with taking_back(steps), transaction.atomic():
        require_free_name(user, "login")
        _save(user, is_new=True)
        _set_monitored(user, monitored)
        UserSettings.objects.create(user=user, default_country=user.country or group.system_provider.default_country)
        audit.record(actor, "create", user, after={"login": user.login, "name": user.name, "licence": user.licence})
        for step in steps:
            step.commit(user)
    try:
        for step in steps:
            step.finish(user)
    except Problem:
        delete_user(actor=actor, user=user)
        for step in steps:
            step.undo()
        raise
    return user


def update_user(
    *,
    actor: Actor | None,
    user: EndUser,
    changes: Mapping[str, Any],
    password: str | None = None,
    monitored: Iterable[EndUser] | None = None,
    parts: Mapping[str, Any] | None = None,
) -> EndUser:
    """Change a user. A new password or deactivation ends all their tokens at once (contracts, lifetimes).

    `parts` are fields that other apps keep (`extensions.user_parts`). Raises Problem `invalid`, and theirs.
    """
    require_writer(actor)
    steps = begin_user_parts(actor, _as_changed(user, changes, password), parts) if parts else []
    with taking_back(steps), transaction.atomic():
        # A weaker lock than FOR UPDATE: whoever writes an event for this user refers to the row, holding locks that our
        # followers wait for.
        user = EndUser.objects.select_for_update(no_key=True).get(pk=user.pk)
        country = _country_of(user)
        before, after = _merge(user, changes, password)
        _save(user, is_new=False)
        if _country_of(user) != country:
            # Who never chose another one follows the profile (S1.15).
            UserSettings.objects.filter(user=user, default_country=country).update(default_country=_country_of(user))
        if monitored is not None:
            _set_monitored(user, monitored)
            after["monitored"] = [str(key) for key in user.monitored.values_list("pk", flat=True)]
        if password or not user.is_active:
            Device.objects.filter(user=user).delete()
        check_guards(user, "update")
        tell_followers(user)
        if after or not steps:  # what parts change, they record
            audit.record(actor, "update", user, before=before, after=after)
        for step in steps:
            step.commit(user)
        if {"licence", "is_active"} & set(after):
            publish(user.pk, "session.updated", user.pk)
    for step in steps:
        step.finish(user)
    return user


def delete_user(*, actor: Actor | None, user: EndUser) -> None:
    """Delete a user who has no number. Raises Problem `in_use` (409) naming what the user still has."""
    require_writer(actor)
    with transaction.atomic():
        check_guards(user, "delete")
        # Followers take from somebody who is gone what they take from whoever may do nothing any more.
        user.is_active = False
        tell_followers(user)
        audit.record(actor, "delete", user, before={"login": user.login, "name": user.name})
        try:
            user.delete()
        except ProtectedError as error:
            raise conflict("in_use", in_use_sentence(user, error)) from error


def update_settings(*, user: EndUser, changes: Mapping[str, Any]) -> UserSettings:
    """Change the user's own settings. Raises Problem `invalid` naming unknown ones."""
    with transaction.atomic():
        settings, _ = UserSettings.objects.select_for_update().get_or_create(user=user)
        _, after = apply_changes(settings, changes, allowed=SETTINGS_FIELDS)
        settings.default_country = require_country(settings.default_country, "default_country")
        validate(settings, exclude={"user"})
        settings.save()
        tell_followers(settings)
        if after:
            publish(user.pk, "session.updated", user.pk)
    return settings


def _as_changed(user: EndUser, changes: Mapping[str, Any], password: str | None) -> EndUser:
    """The user as they will be, checked: nobody outside is told of a change that we would refuse."""
    draft = EndUser.objects.get(pk=user.pk)
    _merge(draft, changes, password)
    return draft


def _merge(user: EndUser, changes: Mapping[str, Any], password: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put the changes on a user (not saved); what differed, before and after. Raises Problem `invalid`."""
    before, after = apply_changes(user, changes, allowed=USER_FIELDS)
    _normalise(user)
    if password:
        _set_password(user, password)
        after |= {"password": "changed"}
    validate(user)
    if "login" in after:
        require_free_name(user, "login")
    return before, after


def _save(user: EndUser, *, is_new: bool) -> None:
    """Raises Problem `invalid` when another user was given the login at the same moment."""
    try:
        user.save(force_insert=is_new)
    except IntegrityError as error:
        raise taken_name(user, "login") from error


def _normalise(user: EndUser) -> None:
    """Numbers to E.164, countries to upper case (S1.15, S1.17)."""
    if user.country:
        user.country = require_country(user.country, "country")
    if user.mobile:
        try:
            user.mobile = parse_number(user.mobile, country=_country_of(user))
        except InvalidNumber as error:
            raise invalid(mobile=str(error)) from error


def _country_of(user: EndUser) -> str:
    return user.country or user.system_provider.default_country


def _set_password(user: EndUser, password: str) -> None:
    try:
        validate_password(password, user)  # type: ignore[arg-type]
    except ValidationError as error:
        raise Problem("invalid", " ".join(error.messages), errors={"password": error.messages}) from error
    for refusal in (rule(user, password) for rule in login_password_rules):
        if refusal is not None:
            raise refusal
    user.set_password(password)


def _set_monitored(user: EndUser, monitored: Iterable[EndUser]) -> None:
    """Whom a user may monitor: the own group, and groups of the reseller with the same enterprise (R42)."""
    others = list(monitored)
    own = organisation_of(user.group)
    found = organisations_of([other.pk for other in others])
    for other in others:
        if found.get(other.pk) != own:
            raise invalid(monitored=f"{other.name} is not in the same organisation.")
    user.monitored.set(others)
