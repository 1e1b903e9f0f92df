"""Password rules beside Django's own (`AUTH_PASSWORD_VALIDATORS`), the same on every face."""

from __future__ import annotations

from django.core.exceptions import ValidationError

# Longer ones only cost time to hash.
MAX_LENGTH = 256
_MIN_DIFFERENT = 5
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop")
_LONGEST_RUN_SHARE = 0.6


class MaximumLengthValidator:
    """At most `MAX_LENGTH` characters."""

    def validate(self, password: str, user: object = None) -> None:
        if len(password) > MAX_LENGTH:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        return f"The password may have at most {MAX_LENGTH} characters."


class ObviousPasswordValidator:
    """Refuses what is long but says little: few different characters, or mostly neighbours on the keyboard."""

    def validate(self, password: str, user: object = None) -> None:
        folded = password.lower()
        if len(set(folded)) < _MIN_DIFFERENT or _longest_run(folded) > _LONGEST_RUN_SHARE * len(folded):
            raise ValidationError(self.get_help_text(), code="password_too_obvious")

    def get_help_text(self) -> str:
        return "The password must not be a repetition or a row of the keyboard."


def _longest_run(password: str) -> int:
    """The length of the longest part that is a piece of a row, forwards or backwards."""
    rows = [*_ROWS, *(row[::-1] for row in _ROWS)]
    longest = 0
    for start in range(len(password)):
        while any(password[start : start + longest + 1] in row for row in rows) and start + longest < len(password):
            longest += 1
    return longest
