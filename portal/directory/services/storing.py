"""Writing contacts with the numbers and words they are found by. Callers hold the lock of the address book."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from portal.directory.entries import Details, Dialled, words_of
from portal.directory.models import Contact, ContactNumber, ContactWord, Directory
from portal.models import EndUser

BATCH = 500
FIELDS = ("key", "kind", "name", "company", "sip_uri", "jid", "url")


@dataclass
class Changes:
    """How many contacts a write added, changed, left as they were and removed."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0


def book_of(owner: EndUser | Directory, source: str) -> QuerySet[Contact]:
    """The contacts of an owner's address book that come from `source`."""
    return Contact.objects.filter(book=owner.pk, source=source)


def save_contacts(*, owner: EndUser | Directory, source: str, wanted: Sequence[Details], changes: Changes) -> None:
    """Add or change the contacts with these keys, which differ; counts in `changes`. Inside a transaction."""
    stored = {contact.key: contact for contact in book_of(owner, source).filter(key__in=[one.key for one in wanted])}
    known = details_of(stored.values())
    new, changed = [], []
    for details in wanted:
        contact = stored.get(details.key)
        if contact is None:
            new.append((_contact(owner, source), details))
        elif known[contact.pk] == details:
            changes.unchanged += 1
        else:
            changed.append((contact, details))
    changes.added += len(new)
    changes.changed += len(changed)
    for contact, details in new + changed:
        set_fields(contact, details)
    Contact.objects.bulk_create([contact for contact, _ in new], batch_size=BATCH)
    Contact.objects.bulk_update([contact for contact, _ in changed], FIELDS, batch_size=BATCH)
    _forget([contact.pk for contact, _ in changed])
    remember(new + changed)


def save_contact(contact: Contact, details: Details) -> None:
    """One contact that was or is being made. Inside a transaction."""
    is_new = contact._state.adding
    set_fields(contact, details)
    contact.save(force_insert=is_new)
    if not is_new:
        _forget([contact.pk])
    remember([(contact, details)])


def set_fields(contact: Contact, details: Details) -> None:
    for name in FIELDS:
        setattr(contact, name, getattr(details, name))


def remember(written: Sequence[tuple[Contact, Details]]) -> None:
    """Write the numbers and words of contacts that have none."""
    numbers = [
        ContactNumber(contact=contact, book=contact.book, number=dialled.number, type=dialled.type)
        for contact, details in written
        for dialled in details.numbers
    ]
    words = [
        ContactWord(contact=contact, book=contact.book, source=contact.source, word=word)
        for contact, details in written
        for word in sorted(words_of(details))
    ]
    ContactNumber.objects.bulk_create(numbers, batch_size=BATCH)
    ContactWord.objects.bulk_create(words, batch_size=BATCH)


def details_of(contacts: Iterable[Contact]) -> dict[uuid.UUID, Details]:
    """What the contacts say, their numbers read in one query."""
    found = {contact.pk: contact for contact in contacts}
    numbers: dict[uuid.UUID, list[Dialled]] = {key: [] for key in found}
    for row in ContactNumber.objects.filter(contact_id__among=list(found)).order_by("id"):
        numbers[row.contact_id].append(Dialled(row.number, row.type))
    return {
        key: Details(numbers=tuple(numbers[key]), **{name: getattr(contact, name) for name in FIELDS})
        for key, contact in found.items()
    }


def remove_contacts(keys: Collection[uuid.UUID]) -> int:
    """Delete contacts by id; returns how many there were."""
    removed, ordered = 0, sorted(keys)
    for start in range(0, len(ordered), BATCH):
        batch = ordered[start : start + BATCH]
        _forget(batch)
        removed += Contact.objects.filter(pk__among=batch)._raw_delete(using="default")
    return removed


def _forget(keys: Sequence[uuid.UUID]) -> None:
    ContactNumber.objects.filter(contact_id__among=list(keys)).delete()
    ContactWord.objects.filter(contact_id__among=list(keys)).delete()


def _contact(owner: EndUser | Directory, source: str) -> Contact:
    if isinstance(owner, EndUser):
        return Contact(user=owner, book=owner.pk, source=source)
    return Contact(directory=owner, book=owner.pk, source=source)
