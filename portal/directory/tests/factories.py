"""Rows of directories for tests."""

from __future__ import annotations

from typing import Any

import factory
from factory.django import DjangoModelFactory

from portal.directory.entries import Details, Dialled
from portal.directory.models import Contact, Directory
from portal.directory.services.storing import save_contact
from portal.models import EndUser
from portal.tests.factories import GroupFactory


class DirectoryFactory(DjangoModelFactory):
    """A CRM of a group, or of a system provider when `group` is None and it is given."""

    class Meta:
        model = Directory

    group = factory.SubFactory(GroupFactory)
    system_provider = factory.SelfAttribute("group.system_provider")
    reseller = factory.LazyAttribute(lambda made: made.group.reseller if made.group else None)
    kind = "crm"
    name = factory.Sequence(lambda n: f"Directory {n}")


def make_contact(owner: EndUser | Directory, name: str, *numbers: str, source: str = "", **fields: Any) -> Contact:
    """A contact in an address book; a number may say its type: `+12025550123 mobile`."""
    if isinstance(owner, EndUser):
        contact = Contact(user=owner, source=source or "personal")
    else:
        contact = Contact(directory=owner, source=source or owner.source)
    dialled = tuple(Dialled(*text.split()) for text in numbers)
    save_contact(contact, Details(name=name, numbers=dialled, **fields))
    return contact
