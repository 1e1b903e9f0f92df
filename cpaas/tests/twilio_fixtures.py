"""A Twilio account, its answers and its signed calls, as facts 3.1 describe them; signed by Twilio's own library."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.http import QueryDict
from twilio.request_validator import RequestValidator

from cpaas.carriers.base import CarrierAccount, HttpResponse, WebhookRequest
from cpaas.carriers.forms import FORM, read_pairs
from cpaas.carriers.registry import get_carrier
from cpaas.tests.carrier_contract import REMOTE, TN, CarrierWire, answer

TWILIO = get_carrier("twilio")
URL = "https://portal.example.com/webhooks/twilio/7/s3cret/"
ACCOUNT = CarrierAccount(
    credentials={"account_sid": "AC-1", "auth_token": "token-AAAA"},
    options={"base_url": "https://api.twilio.test/2010-04-01/"},
    inbound_url=URL,
    status_url=URL + "status/",
)
SENT = {"sid": "sid-1", "status": "queued", "num_segments": "1", "error_code": None}


def refusal(code: int, message: str = "No", status: int = 400) -> HttpResponse:
    said = {"code": code, "message": message, "more_info": f"https://www.twilio.com/docs/errors/{code}"}
    return answer(said | {"status": status}, status)


def number(**changes: Any) -> dict[str, Any]:
    return {
        "sid": "PN-1",
        "phone_number": TN,
        "sms_url": "",
        "sms_method": "POST",
        "sms_fallback_url": "",
        "sms_application_sid": "",
        "capabilities": {"sms": True, "mms": True, "voice": True},
        "status": "in-use",
        **changes,
    }


def listed(*numbers: dict[str, Any], following: str | None = None) -> HttpResponse:
    return answer({"incoming_phone_numbers": list(numbers), "next_page_uri": following, "page": 0})


def signed(
    fields: Mapping[str, Any] | bytes, *, account: CarrierAccount = ACCOUNT, url: str = "", key: str = ""
) -> WebhookRequest:
    """A form as Twilio posts and signs it. A list stands for a repeated name; bytes are a body as it is."""
    url = url or account.inbound_url
    key = key or account.credentials["auth_token"]
    if isinstance(fields, bytes):
        # The library knows text only.
        message = url.encode() + b"".join(name + value for name, value in sorted(set(read_pairs(fields))))
        signature = base64.b64encode(hmac.new(key.encode(), message, hashlib.sha1).digest()).decode()
        return WebhookRequest({"x-twilio-signature": signature}, fields, FORM, url)
    body = urlencode(fields, doseq=True)
    signature = RequestValidator(key).compute_signature(url, QueryDict(body))
    return WebhookRequest({"x-twilio-signature": signature}, body.encode(), FORM, url)


class TwilioWire(CarrierWire):
    """What Twilio's wire looks like to the contract of all carriers."""

    code = "twilio"
    account = ACCOUNT
    taken = answer(SENT, 201)
    refusals = (
        refusal(21211),
        refusal(21614),
        answer({"sid": "sid-1", "status": "failed", "error_code": 30034}, 201),
    )
    opt_outs = (
        refusal(21610, "Attempt to send to unsubscribed recipient"),
        answer({"sid": "sid-1", "status": "failed", "error_code": 21610}, 201),
    )
    words: ClassVar[dict[str, str]] = {"sent": "sent", "delivered": "delivered", "failed": "failed"}
    spellings = ("+12019920781", "12019920781", "2019920781")
    unreadable = (b"[]", b"{}", b"From=1&To=2&Body=x", b"MessageSid=", b"MessageSid=%00+")

    def inbound(
        self,
        account: CarrierAccount,
        text: str,
        *,
        sid: str = "in-1",
        sender: str = REMOTE,
        to: Any = TN,
        media: Sequence[str] = (),
    ) -> WebhookRequest:
        fields = {"MessageSid": sid, "SmsSid": sid, "AccountSid": "AC-1", "From": sender, "To": to, "Body": text}
        fields |= {"NumMedia": str(len(media)), "NumSegments": "1", "SmsStatus": "received"}
        for n, url in enumerate(media):
            fields |= {f"MediaUrl{n}": url, f"MediaContentType{n}": "image/jpeg"}
        return signed(fields, account=account)

    def receipt(self, account: CarrierAccount, sid: str, word: str) -> WebhookRequest:
        fields = {"MessageSid": sid, "SmsSid": sid, "MessageStatus": word, "SmsStatus": word, "AccountSid": "AC-1"}
        if word in ("failed", "undelivered"):
            fields["ErrorCode"] = "30003"
        return signed({**fields, "From": TN, "To": REMOTE}, account=account, url=account.status_url)

    def broken(self, account: CarrierAccount, to: str = TN) -> WebhookRequest:
        body = b"MessageSid=in-1&From=%%2B12015550123&To=%s&Body=caf%%E9%%00!" % to.replace("+", "%2B").encode()
        return signed(body, account=account)

    def group(self, account: CarrierAccount, recipients: Sequence[str]) -> list[WebhookRequest]:
        media = ["https://m.test/1.jpg"]
        return [self.inbound(account, "", sid=f"in-{to}", to=to, media=media) for to in recipients]
