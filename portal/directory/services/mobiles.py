"""Numbers that are known to be mobile, to which alone a user may have texts limited (S1.13, S1.14)."""

from __future__ import annotations

from portal.directory.models import ContactNumber, NumberType, Source
from portal.directory.services.reading import directories_of
from portal.models import EndUser
from portal.services.organisation import linked_groups


def is_known_mobile(user: EndUser, number: str) -> bool:
    """Whether `number` (E.164) is the mobile number of a colleague's profile, an Outlook contact or a CRM contact."""
    books = [user.pk, *directories_of(user).filter(kind="crm").values_list("pk", flat=True)]
    mobiles = ContactNumber.objects.filter(book__in=books, number=number, type=NumberType.MOBILE)
    if mobiles.filter(contact__source__in=(Source.OUTLOOK, Source.CRM)).exists():
        return True
    people = EndUser.objects.filter(mobile=number, is_active=True)
    linked = linked_groups(user).order_by()
    return people.filter(group_id=user.group_id).exists() or people.filter(group__in=linked).exists()
