"""Where a text may go: the number as a user types it, and the tenant's limits on it (S1.14–S1.17, S1.24, R39, R43)."""

from __future__ import annotations

import phonenumbers

from cpaas.models import Conversation, CpaasNumber
from cpaas.services.limit_mail import alert_once
from portal.directory.services.mobiles import is_known_mobile
from portal.models import EndUser, UserSettings
from portal.phone_numbers import InvalidNumber, is_short_code, parse_number
from portal.problems import Problem, conflict
from portal.services.session import settings_of

_SEPARATORS = ",;"


def parse_remote(*, user: EndUser, number: CpaasNumber, to: object, settings: UserSettings | None = None) -> str:
    """The remote party in E.164, or a short code that wrote to us first (facts 4.5). `settings` are the user's, if the
    caller has them.

    Raises Problem `several_recipients`, `invalid_number`.
    """
    if isinstance(to, list) or (isinstance(to, str) and any(mark in to for mark in _SEPARATORS)):
        raise Problem(
            "several_recipients",
            "A text goes to one number; group texts are not possible.",
            errors={"to": ["Give one number."]},
        )
    if not isinstance(to, str):
        raise _invalid_number("Give a telephone number.")
    if is_short_code(to.strip()):
        return _known_short_code(number, to.strip())
    settings = settings or settings_of(user)
    try:
        remote = parse_number(to, country=settings.default_country, exclude_leading_zero=settings.exclude_leading_zero)
    except InvalidNumber as error:
        raise _invalid_number(str(error)) from error
    if remote == number.number:
        raise _invalid_number("This is the number you are sending from.")
    return remote


def check_destination(*, user: EndUser, number: CpaasNumber, remote: str, settings: UserSettings | None = None) -> None:
    """Raises Problem `destination_not_allowed` (country, R39) or `not_a_known_mobile` (S1.14)."""
    if is_short_code(remote):
        return
    allowed = number.platform.option("allowed_countries") or [number.platform.system_provider.default_country]
    country = phonenumbers.region_code_for_number(phonenumbers.parse(remote))
    if country not in allowed:
        raise conflict(
            "destination_not_allowed",
            f"Texts to this country are not allowed. Allowed: {', '.join(allowed)}.",
            afterwards=lambda: alert_once(number.pk, f"A text to {remote} was refused: this country is not allowed."),
        )
    if not (settings or settings_of(user)).allow_any_number and not is_known_mobile(user, remote):
        raise conflict(
            "not_a_known_mobile",
            "This is no known mobile number. Allow messages to any phone number in your settings to send it anyway.",
        )


def _known_short_code(number: CpaasNumber, code: str) -> str:
    """Short codes can only be answered, not written to first."""
    if not Conversation.objects.filter(number=number, remote=code).exists():
        raise _invalid_number("A short number can only be answered after it wrote to you.")
    return code


def _invalid_number(sentence: str) -> Problem:
    return Problem("invalid_number", sentence, errors={"to": [sentence]})
