"""Restcomm, as Telestax hosts it and as it is installed from its open source (facts 2).

What its own documentation leaves out: numbers are found by substring, a text that is not GSM-7 needs its encoding said,
a server that normalises numbers cuts long texts silently, receipts come once or never, and what answers an inbound text
must be XML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from cpaas.carriers.base import (
    CarrierAccount,
    CarrierError,
    CarrierNumber,
    CredentialField,
    Doubtful,
    ForbiddenWebhook,
    Hook,
    HookScope,
    HttpRequest,
    InboundText,
    ListedText,
    LookUp,
    LookUpMatch,
    NumberNotOnAccount,
    Operation,
    OutboundText,
    Refused,
    Sent,
    Switch,
    UnreadableWebhook,
    WebhookAnswer,
    WebhookEvent,
    WebhookRequest,
)
from cpaas.carriers.media import media_request
from cpaas.carriers.twilio_style import numbers, records, webhook
from cpaas.carriers.twilio_style.calls import Api, Pages, accepted, ask, request
from cpaas.carriers.twilio_style.errors import error_code, error_text
from cpaas.carriers.wire import as_dict, clean, message_id, party, read_time, ten_digits
from cpaas.segments import count_segments

_API = Api("Restcomm")
_SPLIT = "split_at_160_bytes"
# What a server that normalises numbers leaves whole.
_SHORT_BYTES = 160
# What its table of texts holds.
_LONGEST = 999
# Its days begin in a zone we do not know.
_ANY_ZONE = timedelta(days=1)


class Restcomm:
    """Numbers and hooks, texts out, texts and receipts in, look-ups; without I/O and without state."""

    code: ClassVar[str] = "restcomm"
    label: ClassVar[str] = _API.label
    credential_fields: ClassVar[tuple[CredentialField, ...]] = (
        CredentialField(
            "account_sid",
            "Account SID",
            "In the Restcomm console, on the page Dashboard beside your name; it begins with AC.",
            secret=False,
        ),
        CredentialField("auth_token", "Auth Token", "Stands below the Account SID; choose the eye to see it."),
    )
    default_options: ClassVar[Mapping[str, str]] = {"base_url": "https://cloud.restcomm.com/restcomm/2012-04-24"}
    supports_mms: ClassVar[bool] = False
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch(
            _SPLIT,
            "Split texts at 160 bytes",
            "Some Restcomm servers cut longer texts off without a word; a message that was cut says so. Switched on, a "
            "longer text goes out in several messages.",
        ),
    )
    hook_scope: ClassVar[HookScope] = "number"
    receipts_get_lost: ClassVar[bool] = True

    def verify(self, account: CarrierAccount) -> Operation[None]:
        """Read the account: the keys must be right and the account active (S4.22)."""
        try:
            said = as_dict((yield from ask(account, _API, ".json")))
        except Refused as error:
            if error.code == "404":
                raise Refused("Restcomm has no account with this Account SID. Please copy it again.", "404") from error
            raise
        status = clean(said.get("status")).lower()
        if status != "active":
            raise Refused(
                f"The account at Restcomm is not active (it is {status or 'without a status'}).", "not_active"
            )

    def find_number(self, account: CarrierAccount, tn: str) -> Operation[CarrierNumber]:
        """The account's number `tn` (S4.29). Not on the account: NumberNotOnAccount.

        What Restcomm says of a number's capabilities is wrong for many that work, so it is told and not believed.
        """
        record = yield from _find(account, tn)
        notes = []
        if not record.sms:
            notes.append("Restcomm lists this number as not able to text; ask Restcomm if no messages arrive.")
        if record.application:
            notes.append(
                f"At Restcomm the application {record.application} had this number's messages. It was taken off, and "
                "is put back when the number is deleted here."
            )
        former = numbers.former_leads(account, record)
        note = " ".join(notes)
        return CarrierNumber(tn, True, True, False, status_word=record.status, former_hook=former, note=note)

    def set_hook(self, account: CarrierAccount, tn: str) -> Operation[Hook]:
        """Make our inbound URL the number's SmsUrl, and its fallback: Restcomm tries each once and no more (S4.31).

        With an SmsApplicationSid the SmsUrl would be ignored, so that is cleared.
        """
        record = yield from _find(account, tn)
        if not numbers.leads_to_us(account, record):
            fields = [
                ("SmsUrl", account.inbound_url),
                ("SmsMethod", "POST"),
                ("SmsFallbackUrl", account.inbound_url),
                ("SmsFallbackMethod", "POST"),
                ("SmsApplicationSid", ""),
            ]
            record = yield from numbers.lead(account, _API, record, fields)
        return record.hook

    def remove_hook(self, account: CarrierAccount, tn: str, former: Mapping[str, str]) -> Operation[int]:
        """Give the number's texts back to where they went before; unless somebody led them elsewhere meanwhile."""
        try:
            record = yield from _find(account, tn)
        except NumberNotOnAccount:
            return 0
        if not numbers.is_ours(account, record):
            return 0
        fields = [
            ("SmsUrl", former.get("SmsUrl", "")),
            ("SmsMethod", former.get("SmsMethod", "POST")),
            ("SmsFallbackUrl", former.get("SmsFallbackUrl", "")),
            ("SmsFallbackMethod", former.get("SmsFallbackMethod", "POST")),
            ("SmsApplicationSid", former.get("SmsApplicationSid", "")),
        ]
        yield from numbers.lead(account, _API, record, fields)
        return 1

    def list_hooks(self, account: CarrierAccount) -> Operation[list[Hook]]:
        return [record.hook for record in (yield from numbers.list_all(account, _API)) if record.url]

    def send(self, account: CarrierAccount, text: OutboundText) -> Operation[Sent]:
        """Hand one text over, in several parts when Restcomm would not take it whole (R32).

        When a part is not taken after others were, the text has failed: what is gone cannot be called back, and to send
        all of it again is for its user to decide.
        """
        if text.media_urls:
            raise Refused("Restcomm has no MMS.", "no_mms")
        parts = split_text(text.text, _SHORT_BYTES if _SPLIT in account.switches else None)
        taken: list[Sent] = []
        for part in parts:
            try:
                taken.append((yield from _send_part(account, replace(text, text=part))))
            except Doubtful:
                raise
            except CarrierError as error:
                if not taken:
                    raise
                said = f"Restcomm took {len(taken)} of {len(parts)} parts of this message, then it said: {error.detail}"
                raise Refused(said, error.code or "part_not_taken") from error
        sids = tuple(sent.sid for sent in taken)
        return replace(taken[0], parts=sids if len(sids) > 1 else ())

    def look_up(self, account: CarrierAccount, query: LookUp) -> Operation[list[LookUpMatch]]:
        days = {
            "StartTime": (query.sent_at - _ANY_ZONE).date().isoformat(),
            "EndTime": (query.sent_at + 2 * _ANY_ZONE).date().isoformat(),
            "SortBy": "DateCreated:desc",
        }
        return (yield from records.look_up(account, _API, "/SMS/Messages", query, days))

    def list_inbound(self, account: CarrierAccount, since: datetime) -> Operation[list[ListedText]]:
        """Every text that came in since then, newest first: of a webhook that failed nobody hears again (R37)."""
        query = {
            "StartTime": (since - _ANY_ZONE).date().isoformat(),
            "SortBy": "DateCreated:desc",
            "PageSize": "50",
        }
        listed, found = Pages(account, _API, "/SMS/Messages.json", ("messages",), query), []
        while (rows := (yield from listed.next())) is not None:
            read = [(read_time(row.get("date_created")), row) for row in rows]
            found += [ListedText(at, _inbound(row)) for at, row in read if at and at >= since and _is_inbound(row)]
            if all(at is not None and at < since for at, _ in read):
                break
        return found

    def media_request(self, account: CarrierAccount, url: str) -> HttpRequest:
        """Restcomm brings no media, so no address is one of them."""
        return media_request(url, hosts=())

    def authenticate(self, account: CarrierAccount, request: WebhookRequest) -> str:
        """Restcomm signs nothing: the secret in the address is checked before, here the account it speaks of."""
        try:
            fields = webhook.fields_of(request)
        except UnreadableWebhook as error:
            raise ForbiddenWebhook(error.detail) from error
        if fields.get("AccountSid", "").strip() != account.credentials.get("account_sid"):
            raise ForbiddenWebhook("The webhook call names another account.")
        return ""

    def separate(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        return (request,)

    def parse_webhook(self, account: CarrierAccount, request: WebhookRequest) -> list[WebhookEvent]:
        """The one event; a text that the network delivered to Restcomm again has a new id (facts 2.7)."""
        event = webhook.parse(request)
        return [replace(event, renamed_when_repeated=True) if isinstance(event, InboundText) else event]

    def answer(self, events: Sequence[WebhookEvent]) -> WebhookAnswer:
        return webhook.answer(next(iter(events), None))


def split_text(text: str, most_bytes: int | None) -> list[str]:
    """The text in parts of at most so many bytes of UTF-8, None for as much as Restcomm holds; between words if it can.

    Nothing is left out: the parts together are the text.
    """
    parts, rest = [], text
    while len(whole := _beginning(rest, most_bytes)) < len(rest):
        space = whole.rfind(" ") + 1
        # A word may be longer than a part.
        cut = space if space > len(whole) // 2 else len(whole)
        parts.append(rest[:cut])
        rest = rest[cut:]
    return [*parts, rest]


def _beginning(text: str, most_bytes: int | None) -> str:
    if most_bytes is None:
        return text[:_LONGEST]
    return text.encode()[:most_bytes].decode("utf-8", "ignore")


def _find(account: CarrierAccount, tn: str) -> Operation[numbers.Record]:
    """By the national digits: the carrier may have the number with or without country code, and searches in it."""
    return (yield from numbers.find(account, _API, tn, ten_digits(tn)))


def _send_part(account: CarrierAccount, text: OutboundText) -> Operation[Sent]:
    form = [
        ("From", text.from_number),
        ("To", text.to_number),
        ("Body", text.text),
        ("StatusCallback", account.status_url),
        ("Encoding", "GSM" if count_segments(text.text).encoding == "gsm7" else "UCS-2"),
    ]
    said = as_dict(accepted(account, _API, (yield request(account, "/SMS/Messages.json", form=form))))
    if clean(said.get("status")).lower() in records.FAILED:
        code = error_code(clean(said.get("error_code")))
        raise Refused(error_text(code, clean(said.get("error_message"))) or "Restcomm did not take this message.", code)
    sid = message_id(said.get("sid"))
    if not sid:
        raise Doubtful("Restcomm reported success but gave the message no id.", "no_id")
    kept = clean(said.get("body"))
    if not kept or len(kept.strip()) >= len(text.text.strip()):
        return Sent(sid)
    note = (
        f"Restcomm cut this message to {len(kept)} of {len(text.text)} characters. "
        "The platform's option Split texts at 160 bytes avoids that."
    )
    return Sent(sid, note=note, code="truncated")


def _is_inbound(row: Mapping[str, Any]) -> bool:
    """Its code writes `inbound`, its documentation `incoming`."""
    usable = bool(message_id(row.get("sid")) and party(row.get("to")))
    return usable and clean(row.get("direction")).lower() in ("inbound", "incoming")


def _inbound(row: Mapping[str, Any]) -> InboundText:
    return InboundText(
        sid=message_id(row.get("sid")),
        sender=party(row.get("from")),
        recipients=(party(row.get("to")),),
        text=clean(row.get("body")),
        renamed_when_repeated=True,
    )
