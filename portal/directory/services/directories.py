"""Directories of a group or a system provider, made and changed by its staff (S1.35)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from portal.addresses import ForbiddenAddress, check_host
from portal.directory.models import Contact, ContactNumber, ContactWord, Directory, DirectoryKind
from portal.directory.services.asking import where_of
from portal.directory.sources import SOURCES, Setting, Unfit
from portal.ids import new_id
from portal.models import Group, SystemProvider
from portal.problems import Problem, invalid
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.changes import apply_changes, validate

LONGEST = 4000
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def create_directory(
    *,
    actor: Actor | None,
    kind: str,
    name: str,
    group: Group | None = None,
    system_provider: SystemProvider | None = None,
    settings: Mapping[str, Any] | None = None,
    id: uuid.UUID | None = None,
) -> Directory:
    """A new directory of `group`, or of all users of `system_provider`. Raises Problem `invalid`."""
    require_writer(actor)
    if (group is None) == (system_provider is None):
        raise invalid(group="Give a group or a system provider, one of them.")
    if kind not in DirectoryKind.values:
        raise invalid(kind=f"Choose one of {', '.join(DirectoryKind.values)}.")
    directory = Directory(
        id=id or new_id(),
        system_provider=group.system_provider if group else system_provider,
        reseller=group.reseller if group else None,
        group=group,
        kind=kind,
        name=name,
    )
    _merge(directory, settings or {})
    validate(directory, exclude={"settings", "secrets", "state"})
    with transaction.atomic():
        directory.save(force_insert=True)
        audit.record(actor, "create", directory, after={"name": name, "kind": kind})
    return directory


def update_directory(*, actor: Actor | None, directory: Directory, changes: Mapping[str, Any]) -> Directory:
    """Change name and settings; null takes a setting back to its default, a secret left blank is kept (R9).

    Raises Problem `invalid`; so does another server without the password, which is not sent to where it was not meant.
    """
    require_writer(actor)
    _merge(Directory.objects.select_related("system_provider").get(pk=directory.pk), changes.get("settings") or {})
    with transaction.atomic():
        row = Directory.objects.select_for_update(of=("self",)).select_related("system_provider").get(pk=directory.pk)
        plain = {name: value for name, value in changes.items() if name != "settings"}
        before, after = apply_changes(row, plain, allowed={"name"})
        old, secrets = row.settings, row.secrets
        _merge(row, changes.get("settings") or {}, ask_dns=False)
        validate(row, exclude={"settings", "secrets", "state"})
        if row.settings != old:
            before["settings"], after["settings"] = old, row.settings
        if row.secrets != secrets:
            after["secrets"] = "replaced"
        if row.settings != old or row.secrets != secrets:
            row.state, row.state_detail, row.checked_at, row.failed_until = "new", "", None, None
            row.found_names.all().delete()
        row.save()
        audit.record(actor, "update", row, before=before, after=after)
    return row


def delete_directory(*, actor: Actor | None, directory: Directory) -> None:
    """Delete a directory with its contacts."""
    require_writer(actor)
    with transaction.atomic():
        row = Directory.objects.select_for_update().get(pk=directory.pk)
        audit.record(actor, "delete", row, before={"name": row.name, "kind": row.kind})
        empty(row)
        row.delete()


def empty(directory: Directory) -> None:
    """Delete all contacts of a directory, without reading them. Inside a transaction."""
    ContactWord.objects.filter(contact__directory=directory).delete()
    ContactNumber.objects.filter(contact__directory=directory).delete()
    Contact.objects.filter(directory=directory)._raw_delete(using="default")


def _merge(directory: Directory, given: Mapping[str, Any], *, ask_dns: bool = True) -> None:
    """Put `given` over the settings (not saved). Raises Problem `invalid` naming what is wrong."""
    source = SOURCES.get(directory.kind)
    known = {setting.name: setting for setting in source.settings} if source else {}
    errors = {name: "There is no such setting." for name in given if name not in known}
    settings, secrets, old_host = dict(directory.settings), dict(directory.secrets), _place(directory)
    for name, value in given.items():
        target: dict[str, Any] = secrets if name in known and known[name].secret else settings
        if value is None:
            target.pop(name, None)
        elif value == "" and name in known and known[name].secret:
            continue
        elif name in known:
            try:
                target[name] = _checked(known[name], value)
            except ValueError as error:
                errors[name] = str(error)
    directory.settings, directory.secrets = settings, secrets
    for name, setting in known.items():
        if setting.required and not settings.get(name) and name not in errors:
            errors[name] = f"{setting.label} is needed."
    if source and not errors:
        if old_host[0] and _place(directory) != old_host and secrets and not given.get("password"):
            errors["password"] = "The server is another one now: give its password."  # noqa: S105 - a sentence
        errors |= _unfit(directory, ask_dns)
    if errors:
        detail = " ".join(errors.values())
        raise Problem("invalid", detail, errors={f"settings.{name}": [text] for name, text in errors.items()})


def _place(directory: Directory) -> tuple[Any, Any]:
    return directory.settings.get("host"), directory.settings.get("port")


def _unfit(directory: Directory, ask_dns: bool) -> dict[str, str]:
    """What is wrong with settings that are each right by itself."""
    where = where_of(directory)
    if not _HOST.fullmatch(where.host):
        return {"host": "Give the name of a server, without ldap:// and path."}
    try:
        if ask_dns:
            check_host(where.host)
    except ForbiddenAddress as error:
        return {"host": str(error)}
    try:
        SOURCES[directory.kind].check(where)
    except Unfit as error:
        return {error.setting: str(error)}
    return {}


def _checked(setting: Setting, value: Any) -> str | int:
    if isinstance(setting.default, int):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
            raise ValueError("Give a whole number from 0 to 65535.")
        return value
    if not isinstance(value, str) or len(value) > LONGEST or _CONTROLS.search(value):
        raise ValueError(f"Give a text of at most {LONGEST} characters.")
    if setting.choices and value not in dict(setting.choices):
        raise ValueError(f"Choose one of {', '.join(dict(setting.choices))}.")
    return value if setting.secret or setting.long else value.strip()
