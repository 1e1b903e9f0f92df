"""A user's own address book: personal contacts, and those of Outlook that the client uploads (S1.31, S1.40).

Nothing of it stands in the audit trail: whom a user knows is not for the staff.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction

from portal.directory.entries import Details, Dialled, Entry, contact_number
from portal.directory.models import Contact, ContactNumber, Source
from portal.directory.services.storing import (
    Changes,
    book_of,
    details_of,
    remove_contacts,
    save_contact,
    save_contacts,
)
from portal.models import EndUser, UserSettings
from portal.phone_numbers import InvalidNumber
from portal.problems import Problem, conflict, invalid
from portal.scoping import get_visible
from portal.services.session import settings_of

MOST_PERSONAL = 5000
MOST_OUTLOOK = 5000
Numbers = Sequence[Mapping[str, Any]]


def create_contact(*, user: EndUser, **fields: Any) -> Contact:
    """A new personal contact. Raises Problem `invalid`, `contact_exists` (409) when a number of it, or without any its
    name, is that of another."""
    details = _details(user, Details(name=""), fields)
    with transaction.atomic():
        _lock(user)
        _require_new(user, details)
        if book_of(user, Source.PERSONAL).count() >= MOST_PERSONAL:
            raise conflict("too_many_contacts", f"You can have at most {MOST_PERSONAL} personal contacts.")
        contact = Contact(user=user, source=Source.PERSONAL)
        save_contact(contact, details)
    return contact


def update_contact(*, user: EndUser, contact: Contact, changes: Mapping[str, Any]) -> Contact:
    """Change a personal contact. Raises as `create_contact`."""
    with transaction.atomic():
        _lock(user)
        row: Contact = get_visible(personal_contacts(user), user, contact.pk)
        details = _details(user, details_of([row])[row.pk], changes)
        _require_new(user, details, but=row)
        save_contact(row, details)
    return row


def delete_contact(*, user: EndUser, contact: Contact) -> None:
    with transaction.atomic():
        _lock(user)
        remove_contacts([get_visible(personal_contacts(user), user, contact.pk).pk])


def personal_contacts(user: EndUser) -> Any:
    return Contact.objects.visible_to(user).filter(source=Source.PERSONAL)


def entries_of(rows: Sequence[Contact]) -> list[Entry]:
    """Personal contacts as every directory gives them, in the given order."""
    details = details_of(rows)
    return [Entry(row.pk, row.source, details[row.pk], order=(row.name, row.pk)) for row in rows]


@dataclass
class Upload:
    """What became of uploaded contacts; `skipped` are numbers that are no telephone numbers, by contact key."""

    contacts: int
    changes: Changes
    skipped: list[dict[str, str]]


def put_outlook_contacts(*, user: EndUser, contacts: Sequence[Mapping[str, Any]], complete: bool = True) -> Upload:
    """Take the contacts that the client read from Outlook. Those that are not among them are removed when `complete`;
    without it they stay, so that many can come in several parts.

    Raises Problem `invalid` for a key that comes twice, and for more than 5000 contacts in all.
    """
    settings = settings_of(user)
    skipped: list[dict[str, str]] = []
    wanted: dict[str, Details] = {}
    for given in contacts:
        if given["key"] in wanted:
            raise invalid(contacts=f"The key {given['key']} comes twice.")
        numbers = _readable(given, settings, skipped)
        fields = {name: value for name, value in given.items() if name != "numbers"}
        wanted[given["key"]] = Details(**fields, numbers=numbers)
    changes = Changes()
    with transaction.atomic():
        _lock(user)
        stored = dict(book_of(user, Source.OUTLOOK).values_list("key", "pk"))
        if complete:
            changes.removed = remove_contacts([key for name, key in stored.items() if name not in wanted])
        elif len(stored.keys() | wanted.keys()) > MOST_OUTLOOK:
            raise invalid(contacts=f"At most {MOST_OUTLOOK} contacts of Outlook are kept.")
        save_contacts(owner=user, source=Source.OUTLOOK, wanted=list(wanted.values()), changes=changes)
        total = len(wanted) if complete else len(stored.keys() | wanted.keys())
    return Upload(total, changes, skipped)


def _readable(given: Mapping[str, Any], settings: UserSettings, skipped: list[dict[str, str]]) -> tuple[Dialled, ...]:
    """The numbers of a contact that are some; one that is none does not keep the contact out."""
    numbers = []
    for number in given.get("numbers", ()):
        try:
            numbers.append(_dialled(number, settings))
        except InvalidNumber:
            skipped.append({"key": given["key"], "number": number["number"]})
    return _each_once(numbers)


def _details(user: EndUser, old: Details, changes: Mapping[str, Any]) -> Details:
    fields = dict(changes)
    if "numbers" in fields:
        fields["numbers"] = _numbers(user, fields["numbers"])
    return replace(old, **fields)


def _numbers(user: EndUser, given: Numbers) -> tuple[Dialled, ...]:
    settings, numbers = settings_of(user), []
    for number in given:
        try:
            numbers.append(_dialled(number, settings))
        except InvalidNumber as error:
            raise invalid(numbers=str(error)) from error
    return _each_once(numbers)


def _dialled(given: Mapping[str, Any], settings: UserSettings) -> Dialled:
    return contact_number(
        given["number"],
        given.get("type", "other"),
        country=settings.default_country,
        exclude_leading_zero=settings.exclude_leading_zero,
    )


def _each_once(numbers: Sequence[Dialled]) -> tuple[Dialled, ...]:
    return tuple({dialled.number: dialled for dialled in reversed(numbers)}.values())[::-1]


def _require_new(user: EndUser, details: Details, but: Contact | None = None) -> None:
    others = book_of(user, Source.PERSONAL)
    if but is not None:
        others = others.exclude(pk=but.pk)
    if details.numbers:
        wanted = [dialled.number for dialled in details.numbers]
        known = ContactNumber.objects.filter(book=user.pk, number__in=wanted, contact__in=others)
        existing = known.values_list("contact_id", "contact__name").first()
    else:
        existing = others.filter(name=details.name).values_list("pk", "name").first()
    if existing:
        detail = f"{existing[1]} is in your personal contacts already. Change that contact instead."
        raise Problem("contact_exists", detail, status=409, contact=str(existing[0]))


def _lock(user: EndUser) -> None:
    """Writers of an address book take turns. Weaker than FOR UPDATE, for those who refer to the user's row."""
    EndUser.objects.select_for_update(no_key=True).filter(pk=user.pk).first()
