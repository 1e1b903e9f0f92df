"""Numbers as staff type them into a search box."""

from __future__ import annotations

from django.http import HttpRequest

from portal.admin.scoped import actor
from portal.phone_numbers import InvalidNumber, parse_own_number


def searched_number(request: HttpRequest, term: str) -> str | None:
    """`term` in E.164, read as it is dialled in the country of the account's provider; None when it is no number."""
    provider = actor(request).system_provider
    try:
        return parse_own_number(term, country=provider.default_country if provider else "US")
    except InvalidNumber:
        return None
