"""Contacts as the API shows them, and how the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from portal.api.fields import Id
from portal.directory.entries import Entry, may_text
from portal.directory.models import ContactKind, NumberType, Source
from portal.models import UserSettings
from portal.phone_numbers import national_digits


class ContactNumberShape(serializers.Serializer[Any]):
    number = serializers.CharField()
    national = serializers.CharField()
    type = serializers.ChoiceField(choices=NumberType.choices)
    can_sms = serializers.BooleanField(help_text="Whether the client offers to text it (S1.13, S1.14).")


class ContactShape(serializers.Serializer[Any]):
    id = Id()
    # `source` is an attribute of every serializer.
    source_ = serializers.ChoiceField(choices=Source.choices)
    kind = serializers.ChoiceField(choices=ContactKind.choices)
    name = serializers.CharField()
    company = serializers.CharField(allow_blank=True)
    numbers = ContactNumberShape(many=True)
    sip_uri = serializers.CharField(allow_null=True)
    jid = serializers.CharField(allow_null=True)
    user = Id(allow_null=True, help_text="The colleague it is.")
    can_im = serializers.BooleanField()
    url = serializers.CharField(allow_null=True, help_text="Where a CRM shows it.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {name.removesuffix("_"): field for name, field in super().get_fields().items()}


def contact_object(entry: Entry, settings: UserSettings) -> dict[str, Any]:
    """A contact (contracts, Directories)."""
    details, is_colleague = entry.details, entry.user is not None
    return {
        "id": str(entry.id),
        "source": entry.source,
        "kind": details.kind,
        "name": details.name,
        "company": details.company,
        "numbers": [
            {
                "number": dialled.number,
                "national": national_digits(dialled.number),
                "type": dialled.type,
                "can_sms": may_text(
                    entry.source, dialled, is_colleague=is_colleague, any_number=settings.allow_any_number
                ),
            }
            for dialled in details.numbers
        ],
        "sip_uri": details.sip_uri or None,
        "jid": details.jid or None,
        "user": str(entry.user) if entry.user else None,
        "can_im": is_colleague or bool(details.jid),
        "url": details.url or None,
    }
