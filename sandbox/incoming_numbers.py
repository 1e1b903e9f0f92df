"""Numbers as Restcomm and Twilio keep them: each with addresses of its own, found by a PN sid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sandbox.store import Hook, Number

# What a client may write, as forms name it, and as answers do.
WRITABLE = {
    "FriendlyName": "friendly_name",
    "SmsUrl": "sms_url",
    "SmsMethod": "sms_method",
    "SmsFallbackUrl": "sms_fallback_url",
    "SmsFallbackMethod": "sms_fallback_method",
    "SmsApplicationSid": "sms_application_sid",
    "StatusCallback": "status_callback",
    "VoiceUrl": "voice_url",
}


def pn_sid(tn: str) -> str:
    """The same for a number as long as it lives."""
    return "PN" + hashlib.sha256(tn.encode()).hexdigest()[:32]


class IncomingNumbers:
    """What was written to the numbers of an account. An empty value clears."""

    def __init__(self, numbers: Mapping[str, Number]) -> None:
        self._numbers = numbers
        self._written: dict[str, dict[str, str]] = {}

    def find(self, sid: str) -> Number | None:
        return next((number for number in self._numbers.values() if pn_sid(number.tn) == sid), None)

    def write(self, tn: str, form: Mapping[str, list[str]]) -> None:
        row = self._written.setdefault(tn, {})
        row |= {WRITABLE[name]: values[-1] for name, values in form.items() if name in WRITABLE}

    def value(self, tn: str, name: str) -> str | None:
        return self._written.get(tn, {}).get(name) or None

    def hook_for(self, tn: str) -> Hook | None:
        """The address for texts to a number of the account; an application set beside it has taken its place."""
        url = self.value(tn, "sms_url")
        if tn not in self._numbers or not url or self.value(tn, "sms_application_sid"):
            return None
        return Hook(pn_sid(tn), tn, url)

    def hooks(self) -> list[Hook]:
        return [hook for hook in map(self.hook_for, self._written) if hook is not None]
