"""IncomingPhoneNumbers: the account's numbers and where their texts go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from cpaas.carriers.base import CarrierAccount, Hook, NotTaken, NumberNotOnAccount, Operation
from cpaas.carriers.twilio_style.calls import Api, Pages, ask
from cpaas.carriers.wire import as_dict, clean, party, same_path

_LISTS = ("incoming_phone_numbers", "incomingPhoneNumbers")
_PAGE_SIZE = "50"
# Where texts of a number go: the form field that sets it, and the member that shows it.
_LEADS: Mapping[str, str] = {
    "SmsUrl": "sms_url",
    "SmsMethod": "sms_method",
    "SmsFallbackUrl": "sms_fallback_url",
    "SmsFallbackMethod": "sms_fallback_method",
    "SmsApplicationSid": "sms_application_sid",
}


@dataclass(frozen=True)
class Record:
    """One number as the carrier has it. `leads` are the fields of `_LEADS` that have a value."""

    sid: str
    tn: str
    leads: Mapping[str, str]
    sms: bool
    mms: bool
    status: str

    @property
    def url(self) -> str:
        return self.leads.get("SmsUrl", "")

    @property
    def application(self) -> str:
        """An application at the carrier that takes the number's texts, whatever its SmsUrl says; "" for none."""
        return self.leads.get("SmsApplicationSid", "")

    @property
    def hook(self) -> Hook:
        return Hook(self.sid, self.tn, self.url)


def find(account: CarrierAccount, api: Api, tn: str, search: str) -> Operation[Record]:
    """The number `tn`. `search` is what the carrier is asked for; its filter may be loose, ours is exact.

    Raises NumberNotOnAccount.
    """
    listed = Pages(account, api, "/IncomingPhoneNumbers.json", _LISTS, {"PhoneNumber": search, "PageSize": _PAGE_SIZE})
    while (rows := (yield from listed.next())) is not None:
        for record in map(_record, rows):
            if record.tn == tn and record.sid:
                return record
    raise NumberNotOnAccount.for_carrier(api.label)


def list_all(account: CarrierAccount, api: Api) -> Operation[list[Record]]:
    found: list[Record] = []
    listed = Pages(account, api, "/IncomingPhoneNumbers.json", _LISTS, {"PageSize": _PAGE_SIZE})
    while (rows := (yield from listed.next())) is not None:
        found += map(_record, rows)
    return found


def lead(account: CarrierAccount, api: Api, record: Record, fields: Sequence[tuple[str, str]]) -> Operation[Record]:
    """Change where the texts of a number go. Raises NotTaken when the carrier's answer does not show it."""
    path = f"/IncomingPhoneNumbers/{quote_plus(record.sid)}.json"
    changed = _record(as_dict((yield from ask(account, api, path, form=fields))))
    if changed.url != dict(fields)["SmsUrl"]:
        raise NotTaken(f"{api.label} accepted the webhook of this number but does not show it.", "hook_not_listed")
    return changed


def leads_to_us(account: CarrierAccount, record: Record) -> bool:
    """Whether the number's texts come to us as they should."""
    is_post = record.leads.get("SmsMethod", "POST").upper() == "POST"
    return record.url == account.inbound_url and is_post and not record.application


def is_ours(account: CarrierAccount, record: Record) -> bool:
    """Whether we set the number's SmsUrl, perhaps when the portal had another public address."""
    return same_path(record.url, account.inbound_url)


def former_leads(account: CarrierAccount, record: Record) -> dict[str, str]:
    """Where texts went before we set anything; empty when that was nowhere, or is ours already."""
    if is_ours(account, record) or not (record.url or record.application):
        return {}
    return dict(record.leads)


def _record(row: Mapping[str, Any]) -> Record:
    able = as_dict(row.get("capabilities"))
    leads = {field: clean(row.get(member)).strip() for field, member in _LEADS.items()}
    return Record(
        sid=clean(row.get("sid")).strip(),
        tn=party(row.get("phone_number")),
        leads={field: value for field, value in leads.items() if value and value != "null"},
        sms=_is_true(able, "sms"),
        mms=_is_true(able, "mms"),
        status=clean(row.get("status")),
    )


def _is_true(able: Mapping[str, Any], kind: str) -> bool:
    """Twilio writes `sms`, Restcomm `sms_capable`; both as booleans, some servers as text."""
    said = next((able[name] for name in (kind, f"{kind}_capable", kind.upper()) if name in able), False)
    return said is True or clean(said).lower() == "true"
