"""Twilio's error numbers. Restcomm shares those from 30001 to 30010 and partly writes their names (facts 2.6, 3.1)."""

from __future__ import annotations

from collections.abc import Mapping

OPTED_OUT = "21610"
# Nothing was taken, and later it may be: too many requests, queue full, rate of the campaign.
TRY_AGAIN = frozenset({"20429", "21611", "30001", "30022"})

_TEXTS: Mapping[str, str] = {
    "21211": "The recipient's number is not valid",
    "21408": "Texts to the recipient's country are not switched on for this account",
    "21610": "The recipient has opted out of texts from this number",
    "21611": "Too many texts of this number are waiting at the carrier",
    "21614": "The recipient's number is not a mobile number",
    "21617": "The text is too long for the carrier",
    "21620": "The carrier could not use the address of an attachment",
    "30001": "The carrier's queue overflowed",
    "30002": "The account at the carrier is suspended",
    "30003": "The recipient's phone could not be reached",
    "30004": "The message was blocked",
    "30005": "The recipient's number is unknown",
    "30006": "The recipient's number is a landline or its carrier cannot be reached",
    "30007": "The recipient's carrier filtered the message as unwanted",
    "30008": "The carrier gives no reason",
    "30009": "A part of the message was lost",
    "30010": "The message costs more than the carrier's limit for this account",
    "30022": "The campaign sends more texts than the recipient's carrier allows",
    "30023": "The daily number of texts of this brand is used up at the recipient's carrier",
    "30034": "The number belongs to no registered 10DLC campaign",
}
_NAMES: Mapping[str, str] = {
    "QUEUE_OVERFLOW": "30001",
    "ACCOUNT_SUSPENDED": "30002",
    "UNREACHABLE_DESTINATION_HANDSET": "30003",
    "MESSAGE_BLOCKED": "30004",
    "UNKNOWN_DESTINATION_HANDSET": "30005",
    "LANDLINE_OR_UNREACHABLE_CARRIER": "30006",
    "CARRIER_VIOLATION": "30007",
    "UNKNOWN_ERROR": "30008",
    "MISSING_SEGMENT": "30009",
    "MESSAGE_PRICE_EXCEEDS_MAX_PRICE": "30010",
    # As its documentation misprints the last one.
    "300010": "30010",
}


def error_code(word: str) -> str:
    """The number of an error that came as number or name, otherwise the word as it is; "" for none."""
    word = word.strip()
    return "" if word in ("0", "null") else _NAMES.get(word.upper(), word)


def error_text(code: str, otherwise: str = "") -> str:
    """A sentence for a person, with the carrier's number in it. `otherwise` is what the carrier says itself."""
    if not code:
        return otherwise
    said = _TEXTS.get(code) or otherwise.rstrip(".") or "The carrier could not deliver the message"
    return f"{said} (carrier error {code})."
