"""Time zone names (IANA)."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError

# Debian lists them too: the machine's own zone, and "none was set".
_NO_ZONES = {"localtime", "Factory"}


@lru_cache(maxsize=1)
def time_zone_names() -> frozenset[str]:
    return frozenset(available_timezones() - _NO_ZONES)


def validate_time_zone(name: str) -> None:
    """Raises ValidationError when `name` is no IANA time zone."""
    if name not in time_zone_names():
        raise ValidationError("This is not a time zone name such as Europe/Berlin.")
