"""Country codes (ISO 3166) that have a telephone numbering plan."""

from __future__ import annotations

import phonenumbers

from portal.problems import invalid


def require_country(code: str, field: str) -> str:
    """`code` in upper case. Raises Problem `invalid` when it is no country we can dial."""
    country = (code or "").strip().upper()
    if country not in phonenumbers.SUPPORTED_REGIONS:
        raise invalid(**{field: "This is not a two-letter country code such as US or GB."})
    return country


def calling_code(country: str) -> str:
    """`+1` for US. The country must be a known one."""
    return f"+{phonenumbers.country_code_for_region(country)}"
