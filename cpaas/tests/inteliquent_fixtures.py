"""An Inteliquent account and answers of that carrier, as its API file and integrators show them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from cpaas.carriers.base import CarrierAccount, InboundText, Receipt, WebhookRequest
from cpaas.carriers.registry import get_carrier
from cpaas.tests.carrier_contract import answer

KEY = "ZJUZjLIWYI9Nb1la7WKLkgswqdczzMTb"
TN = "+12019920781"
URL = "https://portal.example.com/webhooks/inteliquent/7/s3cret/"
ACCOUNT = CarrierAccount(
    credentials={
        "api_key": "key-AAAA",
        "api_secret": "secret-BBBB",
        "outbound_api_key": "outbound-CCCC",
        "inbound_api_key": KEY,
    },
    options={"services_url": "https://services.test/Services/2.0.0/", "broker_url": "https://broker.test/rest"},
    inbound_url=URL,
    status_url=URL + "status/",
)
INTELIQUENT = get_carrier("inteliquent")
SENT_AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)

SUCCESS = {"success": True, "reason": "SUCCESS", "detail": "SUCCESS"}
BAD_BASIC = {
    "message": "Invalid authentication information provided",
    "status": "Invalid credentials",
    "statusCode": "401001",
    "timestamp": "2019-12-10T14:07:32.310-0600",
}
BAD_TOKEN = (
    b'<ams:fault xmlns:ams="http://wso2.org/apimanager/security"><ams:code>900901</ams:code>'
    b"<ams:message>Invalid Credentials</ams:message></ams:fault>"
)
HTML_502 = answer(b"<html><body><h1>502 Bad Gateway</h1></body></html>", 502)


def signed(
    body: Any, nonce: str = "n-1", token: str | None = None, account: CarrierAccount = ACCOUNT
) -> WebhookRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    right = hashlib.sha256((account.credentials["inbound_api_key"] + nonce).encode()).hexdigest()
    headers = {"messageid": nonce, "verificationtoken": right if token is None else token}
    return WebhookRequest(headers, raw, "application/json", account.inbound_url)


def parsed(body: Any) -> InboundText | Receipt:
    (event,) = INTELIQUENT.parse_webhook(ACCOUNT, signed(body))
    return event


def published(sid: Any = "sid-1", **recipient: str) -> dict[str, Any]:
    result = {"referenceId": sid, "resultResponses": [{"to": "12015550123", "status": "SUCCESS"} | recipient]}
    return {**SUCCESS, "result": result}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
