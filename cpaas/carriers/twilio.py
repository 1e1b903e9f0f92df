"""Twilio, and servers that speak its API of 2010 such as SignalWire: chosen by the base URL (facts 3.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from cpaas.carriers.base import (
    CarrierAccount,
    CarrierNumber,
    CredentialField,
    Doubtful,
    ForbiddenWebhook,
    Hook,
    HookScope,
    HttpRequest,
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
from cpaas.carriers.forms import read_pairs
from cpaas.carriers.media import media_request
from cpaas.carriers.twilio_style import numbers, records, webhook
from cpaas.carriers.twilio_style.calls import Api, accepted, ask, request
from cpaas.carriers.twilio_style.errors import OPTED_OUT, error_code, error_text
from cpaas.carriers.wire import as_dict, basic, clean, message_id

_API = Api("Twilio")
# Where the API sends on to when a medium is asked for; none of them gets the credentials.
_MEDIA_HOSTS = (".twilio.com", ".twiliocdn.com", "s3-external-1.amazonaws.com", ".signalwire.com")
_SIGNATURES = ("x-twilio-signature", "x-signalwire-signature")
_PORTS = {"http": 80, "https": 443}


class Twilio:
    """Numbers and hooks, texts out, texts and receipts in, look-ups; without I/O and without state."""

    code: ClassVar[str] = "twilio"
    label: ClassVar[str] = _API.label
    credential_fields: ClassVar[tuple[CredentialField, ...]] = (
        CredentialField(
            "account_sid",
            "Account SID",
            "In the Twilio Console, under Account Info on the home page; it begins with AC. "
            "For SignalWire: the Project ID on the page API.",
            secret=False,
        ),
        CredentialField(
            "auth_token",
            "Auth Token",
            "Stands below the Account SID; choose Show to copy it. It has to be the account's own token, because that "
            "signs what Twilio delivers to us; an API key does not. For SignalWire: an API token.",
        ),
        CredentialField(
            "signing_key",
            "Signing Key",
            "Only for SignalWire: the Signing Key on the page API, which signs what it delivers to us. "
            "Leave it empty for Twilio.",
            required=False,
        ),
    )
    default_options: ClassVar[Mapping[str, str]] = {"base_url": "https://api.twilio.com/2010-04-01"}
    supports_mms: ClassVar[bool] = True
    switches: ClassVar[tuple[Switch, ...]] = ()
    hook_scope: ClassVar[HookScope] = "number"
    receipts_get_lost: ClassVar[bool] = False

    def verify(self, account: CarrierAccount) -> Operation[None]:
        """Read the account: the keys must be right and the account active (S4.22)."""
        if account.credentials["account_sid"].startswith("SK"):
            raise Refused("This is the SID of an API key. Please use the Account SID, which begins with AC.", "api_key")
        try:
            said = as_dict((yield from ask(account, _API, ".json")))
        except Refused as error:
            if error.code in ("404", "20404"):
                raise Refused(
                    "Twilio has no account with this Account SID. Please copy it again.", error.code
                ) from error
            raise
        status = clean(said.get("status")).lower()
        if status != "active":
            raise Refused(f"The account at Twilio is not active (it is {status or 'without a status'}).", "not_active")

    def find_number(self, account: CarrierAccount, tn: str) -> Operation[CarrierNumber]:
        """The account's number `tn` (S4.29). Not on the account: NumberNotOnAccount."""
        record = yield from numbers.find(account, _API, tn, tn)
        former = numbers.former_leads(account, record)
        return CarrierNumber(tn, True, record.sms, record.mms, status_word=record.status, former_hook=former)

    def set_hook(self, account: CarrierAccount, tn: str) -> Operation[Hook]:
        """Make our inbound URL the number's SmsUrl; an application that takes its texts is taken off (S4.31)."""
        record = yield from numbers.find(account, _API, tn, tn)
        if not numbers.leads_to_us(account, record):
            fields = [("SmsUrl", account.inbound_url), ("SmsMethod", "POST")]
            if record.application:
                fields.append(("SmsApplicationSid", ""))
            record = yield from numbers.lead(account, _API, record, fields)
        return record.hook

    def remove_hook(self, account: CarrierAccount, tn: str, former: Mapping[str, str]) -> Operation[int]:
        """Give the number's texts back to where they went before; unless somebody led them elsewhere meanwhile."""
        try:
            record = yield from numbers.find(account, _API, tn, tn)
        except NumberNotOnAccount:
            return 0
        if not numbers.is_ours(account, record):
            return 0
        fields = [("SmsUrl", former.get("SmsUrl", "")), ("SmsMethod", former.get("SmsMethod", "POST"))]
        if application := former.get("SmsApplicationSid"):
            fields.append(("SmsApplicationSid", application))
        yield from numbers.lead(account, _API, record, fields)
        return 1

    def list_hooks(self, account: CarrierAccount) -> Operation[list[Hook]]:
        return [record.hook for record in (yield from numbers.list_all(account, _API)) if record.url]

    def send(self, account: CarrierAccount, text: OutboundText) -> Operation[Sent]:
        """Hand one text over; 201 with an id is a yes, unless its status says that it has failed already (R32)."""
        form = [("To", text.to_number), ("From", text.from_number), ("StatusCallback", account.status_url)]
        if text.text or not text.media_urls:
            form.append(("Body", text.text))
        form += [("MediaUrl", url) for url in text.media_urls]
        response = yield request(account, "/Messages.json", form=form)
        said = as_dict(accepted(account, _API, response))
        if clean(said.get("status")).lower() in records.FAILED:
            code = error_code(clean(said.get("error_code")))
            sentence = error_text(code, clean(said.get("error_message"))) or "Twilio did not take this message."
            raise Refused(sentence, code, opted_out=code == OPTED_OUT)
        sid = message_id(said.get("sid"))
        if not sid:
            raise Doubtful("Twilio reported success but gave the message no id.", "no_id")
        return Sent(sid)

    def look_up(self, account: CarrierAccount, query: LookUp) -> Operation[list[LookUpMatch]]:
        return (yield from records.look_up(account, _API, "/Messages", query, {}))

    def media_request(self, account: CarrierAccount, url: str) -> HttpRequest:
        """Media lie behind the API, which sends on to hosts that need no credentials."""
        authorization = basic(account.credentials["account_sid"], account.credentials["auth_token"])
        return media_request(url, own_url=account.options["base_url"], authorization=authorization, hosts=_MEDIA_HOSTS)

    def authenticate(self, account: CarrierAccount, request: WebhookRequest) -> str:
        """Twilio signs its calls and has no nonce: the same call is the same body."""
        given = next((request.headers[name] for name in _SIGNATURES if name in request.headers), "")
        key = account.credentials.get("signing_key") or account.credentials.get("auth_token", "")
        if not (given and key and _is_signed(key, given.strip(), request)):
            raise ForbiddenWebhook("The signature of the webhook call is missing or wrong.")
        return ""

    def separate(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        return (request,)

    def parse_webhook(self, account: CarrierAccount, request: WebhookRequest) -> list[WebhookEvent]:
        return [webhook.parse(request)]

    def answer(self, events: Sequence[WebhookEvent]) -> WebhookAnswer:
        return webhook.answer(next(iter(events), None))


def _is_signed(key: str, given: str, request: WebhookRequest) -> bool:
    """Whether `given` is HMAC-SHA1 over the URL, with or without its port, and the sorted fields (facts 3.1)."""
    try:
        signed = _signed_part(request)
    except UnreadableWebhook:
        return False
    found = False
    for url in _spellings(request.url):
        digest = hmac.new(key.encode(), url.encode("utf-8", "replace") + signed, hashlib.sha1).digest()
        found |= hmac.compare_digest(base64.b64encode(digest), given.encode("utf-8", "replace"))
    return found


def _signed_part(request: WebhookRequest) -> bytes:
    """What is signed besides the URL. Of a JSON body that is nothing: its digest stands in the query and must be right.

    Raises UnreadableWebhook.
    """
    digests = parse_qs(urlsplit(request.url).query).get("bodySHA256")
    if digests:
        right = hashlib.sha256(request.body).hexdigest()
        if not hmac.compare_digest(digests[0].lower().encode("utf-8", "replace"), right.encode()):
            raise UnreadableWebhook("The digest of the body is wrong.")
        return b""
    return b"".join(name + value for name, value in sorted(set(read_pairs(request.body))))


def _spellings(url: str) -> list[str]:
    """The URL as it is, without its port and with it: Twilio leaves a standard one out sometimes."""
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}")
    port = parts.port or _PORTS.get(parts.scheme)
    return [url, *(parts._replace(netloc=netloc).geturl() for netloc in (host, f"{host}:{port}"))]
