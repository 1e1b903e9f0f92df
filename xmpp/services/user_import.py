"""Users of a BroadWorks group taken over into a group here, and brought up to date later.

Row by row, so that one that cannot be taken stops no other. Nobody is deleted, nothing that BroadWorks leaves empty is
emptied, and no password is touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import phonenumbers
from django.db import transaction

from portal.models import EndUser, Group, Licence
from portal.phone_numbers import InvalidNumber, parse_number
from portal.problems import Problem, conflict, invalid
from portal.scoping import Actor, require_writer
from portal.services import users
from xmpp.broadworks import commands
from xmpp.broadworks.commands import Found, Profile
from xmpp.models import BroadworksConnection
from xmpp.services.accounts import Service, account_of, service_of, store_service
from xmpp.services.connections import ask, server_of

MOST_USERS = 1000
_LABELS = {"assigned": "IM&P assigned", "enabled": "IM&P enabled", "imp_id": "IM&P ID"}
ACTIONS = ("create", "update", "unchanged", "conflict")


@dataclass(frozen=True)
class Row:
    """What happens to a user: `changes` are [before, after] by field, `detail` says what could not be taken."""

    login: str
    action: str
    changes: dict[str, list[Any]] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """`counts` by action."""

    dry_run: bool
    rows: list[Row]

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(row.action for row in self.rows)
        return {action: found[action] for action in ACTIONS}


def import_users(
    *,
    actor: Actor | None,
    connection: BroadworksConnection,
    service_provider: str,
    broadworks_group: str,
    group: Group,
    licence: str = Licence.NONE,
    dry_run: bool = False,
) -> Report:
    """Bring the users of a group in BroadWorks into `group`; new ones get `licence`. `dry_run` does the same and takes
    each row back again, so that it meets what the import would meet.

    Raises Problem `invalid`, `no_broadworks` (409), `broadworks_refused`, `broadworks_unreachable` (502).
    """
    require_writer(actor)
    if group.system_provider_id != connection.pk:
        raise invalid(group="This group belongs to another system provider.")
    server = server_of(connection)
    if server is None:
        raise conflict("no_broadworks", "This connection has no BroadWorks that could be asked. Enter its host first.")
    logins = ask(server, commands.list_users(service_provider, broadworks_group))
    if len(logins) > MOST_USERS:
        raise invalid(broadworks_group=f"This group has {len(logins)} users. At most {MOST_USERS} can be imported.")
    found = ask(server, commands.get_users(logins))
    made = [_take(actor, connection, each, group, licence, dry_run) for each in found]
    return Report(dry_run, made)


def _take(
    actor: Actor | None, connection: BroadworksConnection, found: Found, group: Group, licence: str, dry_run: bool
) -> Row:
    if found.profile is None:
        return Row(found.user_id, "conflict", detail=found.detail)
    user = EndUser.objects.select_related("group").filter(login__lower=found.user_id.lower()).first()
    if user is not None and user.group_id != group.pk:
        return Row(found.user_id, "conflict", detail=_elsewhere(user, group))
    given, detail = _fields_of(found.profile, group)
    changes = _changes(user, given)
    service = Service(found.imp.assigned, found.imp.active)
    changes |= _service_changes(user, service, found.imp.imp_id)
    action = "create" if user is None else "update" if changes else "unchanged"
    if action == "unchanged":
        return Row(found.user_id, action, changes, detail)
    try:
        with transaction.atomic():
            user = _write(actor, user, found.user_id, given, group, licence)
            store_service(actor=actor, user=user, wanted=service, connection=connection, found=found.imp)
            transaction.set_rollback(dry_run)
    except Problem as problem:
        return Row(found.user_id, "conflict", changes, problem.detail)
    return Row(found.user_id, action, changes, detail)


def _write(
    actor: Actor | None, user: EndUser | None, login: str, given: dict[str, Any], group: Group, licence: str
) -> EndUser:
    if user is None:
        return users.create_user(
            actor=actor, group=group, login=login, licence=licence, **{"name": login[:120], **given}
        )
    return users.update_user(actor=actor, user=user, changes=given)


def _elsewhere(user: EndUser, group: Group) -> str:
    """Of another tenant's user nothing is said."""
    if user.system_provider_id != group.system_provider_id:
        return "This login is not available."
    return f"This login belongs to a user of the group {user.group}."


def _fields_of(profile: Profile, group: Group) -> tuple[dict[str, Any], str]:
    """What BroadWorks says, as our fields; and in words what of it we cannot take."""
    country = _country(profile.country_code)
    mobile, detail = "", ""
    if profile.mobile:
        try:
            mobile = parse_number(profile.mobile, country=country or group.system_provider.default_country)
        except InvalidNumber:
            detail = f"The mobile number {profile.mobile} was left out: it is not valid."
    given = {
        "name": profile.name[:120],
        "email": profile.email,
        "extension": profile.extension[:20],
        "mobile": mobile,
        "country": country,
    }
    return {name: value for name, value in given.items() if value}, detail


def _country(calling_code: str) -> str:
    """The country of a calling code; the first one of those that share it, "" when there is none."""
    if not calling_code.isascii() or not calling_code.isdigit():
        return ""
    region = phonenumbers.region_code_for_country_code(int(calling_code[:4]))
    return region if region in phonenumbers.SUPPORTED_REGIONS else ""


def _changes(user: EndUser | None, given: dict[str, Any]) -> dict[str, list[Any]]:
    if user is None:
        return {name: [None, value] for name, value in given.items()}
    return {name: [getattr(user, name), value] for name, value in given.items() if getattr(user, name) != value}


def _service_changes(user: EndUser | None, service: Service, imp_id: str) -> dict[str, list[Any]]:
    account = account_of(user) if user is not None else None
    present = service_of(account)
    changes: dict[str, list[Any]] = {}
    for name, value in service.as_json().items():
        if present.as_json()[name] != value:
            changes[name] = [present.as_json()[name], value]
    had = account.imp_id if account else ""
    if imp_id and service.is_on and imp_id.lower() != had.lower():
        changes["imp_id"] = [had or None, imp_id]
    return changes


def describe(row: Row) -> Iterator[str]:
    """The changes of a row in words, for people."""
    for name, (before, after) in row.changes.items():
        was = "" if before in (None, "") else f"{_word(before)} → "
        yield f"{_LABELS.get(name, name.capitalize())}: {was}{_word(after)}"


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
