"""End-user routes of directories: `directory/`, `contacts/` and the upload of Outlook contacts."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import UserView
from portal.api.fields import Boolean, Choice, Text
from portal.api.idempotency import idempotent
from portal.api.paging import Fetch, list_name, paginate_merged
from portal.api.parsing import JSONObjectParser
from portal.api.schema import page_of
from portal.api.strict import ListQuery, StrictSerializer
from portal.directory.api.shapes import ContactShape, contact_object
from portal.directory.entries import LONGEST_NAME, MOST_NUMBERS, Entry, best_first
from portal.directory.models import Contact, ContactKind, NumberType, Source
from portal.directory.services import asking, contacts
from portal.directory.services.reading import COLLEAGUES, AddressBooks, in_order
from portal.models import UserSettings
from portal.phone_numbers import InvalidNumber, is_short_code, parse_number
from portal.problems import invalid
from portal.scoping import get_visible
from portal.services.session import settings_of

# The directories of BroadWorks: the people of the organisation and the common phone lists.
BROADWORKS = "broadworks"


class DialledSerializer(StrictSerializer):
    number = Text(max_length=64, help_text="As dialled, or E.164.")
    type = Choice(choices=NumberType.choices, required=False, default=NumberType.OTHER)


class ContactSerializer(StrictSerializer):
    name = Text(max_length=LONGEST_NAME)
    company = Text(required=False, allow_blank=True, max_length=LONGEST_NAME)
    numbers = serializers.ListField(child=DialledSerializer(), required=False, max_length=MOST_NUMBERS)
    sip_uri = Text(required=False, allow_blank=True, allow_null=True, max_length=255)
    jid = Text(required=False, allow_blank=True, allow_null=True, max_length=255)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {name: "" if value is None else value for name, value in attrs.items()}


class OutlookContactSerializer(ContactSerializer):
    key = Text(max_length=200, help_text="Outlook's own name of the contact.")
    kind = Choice(choices=ContactKind.choices, required=False, default=ContactKind.CONTACT)
    url = Text(required=False, allow_blank=True, allow_null=True, max_length=500)


class OutlookSerializer(StrictSerializer):
    contacts = serializers.ListField(child=OutlookContactSerializer(), max_length=contacts.MOST_OUTLOOK)
    complete = Boolean(
        required=False, default=True, help_text="false: one part of several; contacts that are not in it stay."
    )


class SkippedShape(serializers.Serializer[Any]):
    key = serializers.CharField()
    number = serializers.CharField()


class UploadShape(serializers.Serializer[Any]):
    contacts = serializers.IntegerField(help_text="How many contacts of Outlook the user has now.")
    added = serializers.IntegerField()
    changed = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    removed = serializers.IntegerField()
    skipped = SkippedShape(many=True, help_text="Numbers that are no telephone numbers.")


class ServerShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    source_ = Choice(choices=["ldap", "sql"])
    ok = serializers.BooleanField(help_text="false: it did not answer, the results are those of the others.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {name.removesuffix("_"): field for name, field in super().get_fields().items()}


class DirectoryShape(serializers.Serializer[Any]):
    results = ContactShape(many=True)
    servers = ServerShape(many=True, help_text="Servers that were asked.")
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class DirectoryQuery(ListQuery):
    q = Text(required=False, max_length=100, help_text="Beginnings of words of a name, or part of a number.")
    number = Text(required=False, max_length=64, help_text="Exactly this number; the best match first.")
    source_ = Choice(
        choices=[*Source.choices, (BROADWORKS, "BroadWorks")],
        required=False,
        help_text="broadworks: the people of the organisation and the common phone lists.",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {name.removesuffix("_"): field for name, field in super().get_fields().items()}


class _ContactsView(UserView):
    """Shows contacts with what the user's settings allow."""

    @cached_property
    def settings_of_user(self) -> UserSettings:
        return settings_of(self.user)

    def show(self, entries: list[Entry]) -> list[dict[str, Any]]:
        return [contact_object(entry, self.settings_of_user) for entry in entries]

    def show_contact(self, contact: Contact) -> dict[str, Any]:
        return self.show(contacts.entries_of([contact]))[0]


class Directory(_ContactsView):
    """Everybody that any directory knows, merged and by name; with `q` those who match, with `number` the holders."""

    answers = {"GET": {200: DirectoryShape}}
    query_classes = {"GET": DirectoryQuery}
    order = ("name", "id")

    def get(self, request: Request) -> Response:
        books = AddressBooks(self.user, self._sources())
        asked: list[asking.Answer] = []
        if number := self.query.get("number"):
            parsed = self._parsed(number)
            asked = asking.with_number(books.asked, parsed) if parsed.startswith("+") else []
            found = best_first([*books.with_number(parsed), *_entries(asked)])
            return Response({**self._answer(found, asked), "next": None, "previous": None})
        fetch: Fetch[Entry] = books.page
        if query := self.query.get("q"):
            asked = asking.search(books.asked, query)
            fetch = in_order(sorted([*books.search(query), *_entries(asked)], key=lambda entry: entry.order))
        page, following, previous = paginate_merged(
            fetch,
            lambda entry: entry.order,
            name=list_name(request.path, self.query, self.user.pk),
            cursor=self.query.get("cursor"),
            limit=self.query["limit"],
        )
        return Response({**self._answer(page, asked), "next": following, "previous": previous})

    def _answer(self, found: list[Entry], asked: list[asking.Answer]) -> dict[str, Any]:
        servers = [
            {"name": answer.directory.name, "source": answer.directory.source, "ok": not answer.error}
            for answer in asked
        ]
        return {"results": self.show(found), "servers": servers}

    def _sources(self) -> tuple[str, ...]:
        source = self.query.get("source")
        if source == BROADWORKS:
            return COLLEAGUES
        return (source,) if source else ()

    def _parsed(self, number: str) -> str:
        settings = self.settings_of_user
        try:
            return parse_number(
                number, country=settings.default_country, exclude_leading_zero=settings.exclude_leading_zero
            )
        except InvalidNumber as error:
            # Also extensions and short codes are looked up.
            if number.isdecimal() and (len(number) == 2 or is_short_code(number)):
                return number
            raise invalid(number=str(error)) from error


class Contacts(_ContactsView):
    """The user's personal contacts, newest first (S1.40)."""

    serializer_class = ContactSerializer
    query_classes = {"GET": ListQuery}
    order = ("-id",)
    answers = {"GET": {200: page_of(ContactShape)}, "POST": {201: ContactShape}}

    def get(self, request: Request) -> Response:
        page = self.page_of(contacts.personal_contacts(self.user))
        return Response(page.answer(self.show(contacts.entries_of(page.rows))))

    @idempotent()
    def post(self, request: Request) -> Response:
        contact = contacts.create_contact(user=self.user, **self.read_body())
        return Response(self.show_contact(contact), status=201)


class ContactItem(_ContactsView):
    """One personal contact."""

    serializer_class = ContactSerializer
    answers = {"GET": {200: ContactShape}, "PATCH": {200: ContactShape}}

    def get(self, request: Request, pk: str) -> Response:
        return Response(self.show_contact(self._get(pk)))

    def patch(self, request: Request, pk: str) -> Response:
        contact = self._get(pk)
        changes = self.read_body(partial=True)
        return Response(self.show_contact(contacts.update_contact(user=self.user, contact=contact, changes=changes)))

    def delete(self, request: Request, pk: str) -> Response:
        contacts.delete_contact(user=self.user, contact=self._get(pk))
        return Response(status=204)

    def _get(self, pk: str) -> Contact:
        found: Contact = get_visible(contacts.personal_contacts(self.user), self.user, pk)
        return found


def _entries(answers: list[asking.Answer]) -> list[Entry]:
    return [entry for answer in answers for entry in answer.entries]


class UploadParser(JSONObjectParser):
    """5000 contacts with all they may have."""

    max_bytes = 8 * 1024 * 1024


class OutlookContacts(UserView):
    """Takes what the client read from the user's Outlook, in place of what it read before (S1.31)."""

    serializer_class = OutlookSerializer
    parser_classes = [UploadParser]
    answers = {"PUT": {200: UploadShape}}

    def put(self, request: Request) -> Response:
        body = self.read_body()
        upload = contacts.put_outlook_contacts(
            user=self.user, contacts=body["contacts"], complete=body.get("complete", True)
        )
        return Response({"contacts": upload.contacts, **vars(upload.changes), "skipped": upload.skipped})


urlpatterns = [
    path("directory/", Directory.as_view()),
    path("directory/sources/outlook/", OutlookContacts.as_view()),
    path("contacts/", Contacts.as_view()),
    path("contacts/<str:pk>/", ContactItem.as_view()),
]
