"""What a user finds in all directories together (S1.34, S1.35; contracts, Directories).

Without a question the stored contacts and the people of the organisation are merged by name, a page at a time, each
from one range of an index. A question takes the first matches of each address book, so that a common letter costs no
more than a rare name.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from django.db.models import Exists, Model, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Upper

from portal import extensions
from portal.directory.entries import Details, Dialled, Entry, beginnings_of, best_first, words_in
from portal.directory.models import Contact, ContactKind, ContactNumber, ContactWord, Directory, NumberType, Source
from portal.directory.services.storing import details_of
from portal.indexes import Folded
from portal.models import EndUser
from portal.services.organisation import linked_groups

MOST_MATCHES = 100
Order = tuple[str, uuid.UUID]
COLLEAGUES = (Source.GROUP, Source.ENTERPRISE)


def directories_of(user: EndUser) -> QuerySet[Directory]:
    """The directories of the user's group and system provider."""
    of_provider = Q(system_provider_id=user.system_provider_id, group__isnull=True)
    found = Directory.objects.filter(of_provider | Q(group_id=user.group_id))
    return found.select_related("system_provider").order_by("id")


class AddressBooks:
    """The address books a user looks into, of these `sources` only when given."""

    def __init__(self, user: EndUser, sources: Collection[str] = ()) -> None:
        self.user = user
        wanted = frozenset(sources or Source.values)
        found = [directory for directory in directories_of(user) if directory.source in wanted]
        self.asked = [directory for directory in found if directory.is_asked]
        own = [(user.pk, source) for source in (Source.PERSONAL, Source.OUTLOOK) if source in wanted]
        # A book and the source of contacts in it.
        self.books = [*own, *((directory.pk, directory.source) for directory in found if not directory.is_asked)]
        self.has_group, self.has_enterprise = Source.GROUP in wanted, Source.ENTERPRISE in wanted

    # --- Everybody, page by page ---------------------------------------------------------------------------------
    def page(self, beyond: Order | None, backward: bool, count: int) -> list[Entry]:
        """The first `count` after `beyond` by name, or backward the last before it."""

        def cut(rows: QuerySet[Any]) -> QuerySet[Any]:
            return _beyond(rows.annotate(folded=Folded("name")), beyond, backward)[:count]

        stored = [Contact.objects.filter(book=book, source=source) for book, source in self.books]
        contacts = _union(Contact, [cut(rows) for rows in stored])
        groups = [self.user.group_id] if self.has_group else []
        groups += linked_groups(self.user).values_list("pk", flat=True) if self.has_enterprise else []
        people = _union(EndUser, [cut(self._people().filter(group_id=group)) for group in groups])
        merged = sorted([*contacts, *people], key=lambda row: (row.folded, row.pk))
        return self.entries(merged[-count:] if backward else merged[:count])

    # --- Searches ------------------------------------------------------------------------------------------------
    def search(self, query: str) -> list[Entry]:
        """Those of which every word of `query` begins a word, or whose number it is part of, by name; the first
        `MOST_MATCHES` of each address book."""
        matching = [Contact.objects.filter(pk__in=part) for part in self.contacts_matching(query)]
        contacts = _union(Contact, [rows.annotate(folded=Folded("name")) for rows in matching])
        people = _union(EndUser, [rows.annotate(folded=Folded("name")) for rows in self.people_matching(query)])
        found = {entry.id: entry for entry in self.entries([*contacts, *people])}
        return sorted(found.values(), key=lambda entry: entry.order)

    def contacts_matching(self, query: str) -> list[QuerySet[Any]]:
        """The ids of the stored contacts that `search` finds, each part to be a part of another statement."""
        ways = beginnings_of(query)
        return [self._with_words(book, source, way) for book, source in self.books for way in ways]

    def people_matching(self, query: str) -> list[QuerySet[EndUser]]:
        """The people that `search` finds, by any word of the name as it is written, or part of a number. No group is so
        large that walking through it is worth an index of words."""
        ways = beginnings_of(query)
        named = Q(pk__isnull=False)
        for word in words_in(query):
            named &= Q(name__iregex=rf"(^|\W|_){word}")
        for digits in (way[0] for way in ways if len(way) == 1 and way[0].isdigit()):
            named |= Q(mobile__contains=digits) | Q(extension__startswith=digits)
        return [rows.filter(named)[:MOST_MATCHES] for rows in self._colleagues()] if ways else []

    def with_number(self, number: str) -> list[Entry]:
        """Those who have exactly this number, the best match first."""
        holders = [holder.user_id for find in extensions.number_holders for holder in find([number])]
        books, sources = zip(*self.books, strict=True) if self.books else ((), ())
        known = ContactNumber.objects.filter(book__in=set(books), number=number, contact__source__in=set(sources))
        contacts = Contact.objects.filter(pk__in=known.values("contact_id")[:MOST_MATCHES])
        meant = Q(mobile=number) | Q(pk__in=holders) | Q(extension=number)
        matching = [rows.filter(meant)[:MOST_MATCHES].annotate(folded=Folded("name")) for rows in self._colleagues()]
        rows = [*contacts.annotate(folded=Folded("name")), *_union(EndUser, matching)]
        return best_first(self.entries(rows))

    # --- Rows ----------------------------------------------------------------------------------------------------
    def entries(self, rows: Sequence[Any]) -> list[Entry]:
        """Contacts and people with their numbers, in the given order."""
        details = details_of(row for row in rows if isinstance(row, Contact))
        details |= colleague_details(row for row in rows if isinstance(row, EndUser))
        return [
            Entry(
                id=row.pk,
                source=row.source if isinstance(row, Contact) else self._source_of(row),
                details=details[row.pk],
                order=(row.folded, row.pk),
                user=row.pk if isinstance(row, EndUser) else None,
            )
            for row in rows
        ]

    def _source_of(self, colleague: EndUser) -> str:
        return Source.GROUP if colleague.group_id == self.user.group_id else Source.ENTERPRISE

    def _people(self) -> QuerySet[EndUser]:
        return EndUser.objects.filter(is_active=True).exclude(pk=self.user.pk)

    def _colleagues(self) -> list[QuerySet[EndUser]]:
        """The people of the own group, and those of the enterprise."""
        own = [self._people().filter(group_id=self.user.group_id)] if self.has_group else []
        linked = self._people().filter(group__in=linked_groups(self.user).order_by())
        return [*own, linked] if self.has_enterprise else own

    def _with_words(self, book: uuid.UUID, source: str, way: Sequence[str]) -> QuerySet[Any]:
        """The rarest word by the index, the others looked up for each contact that has it."""
        first, *others = sorted(way, key=len, reverse=True)
        found = ContactWord.objects.filter(book=book, source=source)
        for word in others:
            same = ContactWord.objects.filter(contact=OuterRef("contact"), word__startswith=word)
            found = found.filter(Exists(same))
        folded = found.annotate(folded=Folded("word")).filter(folded__startswith=Upper(Value(first)))
        return folded.order_by("folded", "contact").values("contact_id")[:MOST_MATCHES]


def in_order(entries: Sequence[Entry]) -> Callable[[Order | None, bool, int], list[Entry]]:
    """A page at a time of entries that are sorted already."""

    def fetch(beyond: Order | None, backward: bool, count: int) -> list[Entry]:
        if beyond is None:
            return list(entries[:count])
        if backward:
            return [entry for entry in entries if entry.order < beyond][-count:]
        return [entry for entry in entries if entry.order > beyond][:count]

    return fetch


def colleague_details(people: Iterable[EndUser]) -> dict[uuid.UUID, Details]:
    """Users as contacts, with the numbers that other apps assigned to them."""
    rows = list(people)
    assigned: dict[uuid.UUID, list[str]] = {person.pk: [] for person in rows}
    for find in extensions.assigned_numbers if rows else ():
        for user_id, numbers in find(list(assigned)).items():
            assigned[user_id] += numbers
    return {person.pk: _colleague(person, assigned[person.pk]) for person in rows}


def _colleague(person: EndUser, assigned: Sequence[str]) -> Details:
    numbers = dict.fromkeys(assigned, NumberType.WORK)
    if person.mobile:
        numbers[person.mobile] = NumberType.MOBILE
    if person.extension:
        numbers[person.extension] = NumberType.EXTENSION
    dialled = tuple(Dialled(number, type) for number, type in numbers.items())
    return Details(name=person.name, kind=ContactKind.PERSON, numbers=dialled, sip_uri=person.sip_uri)


def _beyond(rows: QuerySet[Any], beyond: Order | None, backward: bool) -> QuerySet[Any]:
    ordered = rows.order_by(*(("-folded", "-pk") if backward else ("folded", "pk")))
    if beyond is None:
        return ordered
    name, key = beyond
    if backward:
        return ordered.filter(Q(folded__lt=name) | Q(folded=name, pk__lt=key), folded__lte=name)
    return ordered.filter(Q(folded__gt=name) | Q(folded=name, pk__gt=key), folded__gte=name)


def _union(model: type[Model], parts: Sequence[QuerySet[Any]]) -> list[Any]:
    """The rows of all parts by one statement; each part keeps its own order and limit, which SQLite has only below
    another SELECT."""
    if not parts:
        return []
    statements, values = zip(*(part.query.sql_with_params() for part in parts), strict=True)
    # Made by Django, values apart.
    union = " UNION ALL ".join(f"SELECT * FROM ({statement}) part" for statement in statements)  # noqa: S608
    return list(model._default_manager.raw(union, [value for some in values for value in some]))
