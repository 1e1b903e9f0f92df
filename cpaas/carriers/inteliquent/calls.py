"""Calls to Inteliquent's two interfaces, and what their answers mean.

Every call is a POST with a JSON body. Errors come as HTTP status, as `statusCode` or `success` in the body of a 200, as
XML from the gateway or as HTML from a proxy: the body decides first, the HTTP status second.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cpaas.carriers.base import CarrierAccount, Doubtful, HttpRequest, HttpResponse, NotTaken, Operation, Refused
from cpaas.carriers.wire import basic, clean, quote, read_object, retry_after_s, says_opted_out

NOTHING_FOUND = "430"
TRY_AGAIN = frozenset({"429", "431", "503"})
# The lists of hooks and campaigns have no pages; a row takes about 250 bytes and an account has one for each number.
MAX_HOOK_LIST_BYTES = 32_000_000
MAX_ANSWER_BYTES = 1_000_000
_LISTS = frozenset({"/selectAuthorization", "/tnMessagingCampaignList"})

_XML_CODE = re.compile(rb"<(?:\w+:)?code>\s*(9009[0-9]{2})\s*<")
_XML_MESSAGE = re.compile(rb"<(?:\w+:)?message>\s*([^<]{1,200})<")


@dataclass(frozen=True)
class Api:
    """One of the two interfaces: its base URL option and what people call its keys."""

    option: str
    keys: str


SERVICES = Api("services_url", "API key and secret")
BROKER = Api("broker_url", "Outbound API Key")


def request(account: CarrierAccount, api: Api, path: str, payload: Mapping[str, Any]) -> HttpRequest:
    """A signed call. Raises Refused when the key cannot stand in a header."""
    if api is SERVICES:
        authorization = basic(account.credentials["api_key"], account.credentials["api_secret"])
        payload = {"privateKey": account.credentials["api_key"], **payload}
    else:
        key = account.credentials["outbound_api_key"]
        if not re.fullmatch(r"[!-~]+", key):
            raise Refused("The Outbound API Key contains characters that no key has, please copy it again.", "bad_key")
        authorization = "Bearer " + key
    return HttpRequest(
        method="POST",
        url=account.options[api.option].rstrip("/") + path,
        headers={"Authorization": authorization, "Content-Type": "application/json", "Accept": "application/json"},
        body=json.dumps(payload).encode(),
        max_response_bytes=MAX_HOOK_LIST_BYTES if path in _LISTS else MAX_ANSWER_BYTES,
    )


def ask(account: CarrierAccount, api: Api, path: str, payload: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    """A call that is safe to repeat; {} when the carrier found nothing. Raises Refused or NotTaken."""
    try:
        response = yield request(account, api, path, payload)
        if api is SERVICES and _code(response, read_object(response.body)) == NOTHING_FOUND:
            return {}
        return accepted(account, api, response)
    except Doubtful as error:
        # Asking twice does no harm here, so a missing answer is no doubt but a reason to ask again.
        raise NotTaken(error.detail, error.code) from error


def accepted(account: CarrierAccount, api: Api, response: HttpResponse) -> dict[str, Any]:
    """The answer's object when it says yes. Raises NotTaken, Refused or Doubtful by what it says instead (R32)."""
    body = read_object(response.body)
    code = _code(response, body)
    data = body or {}
    success = _success(data)
    if success is not False and response.status < 300 and (code == "200" or (success and not code)):
        return data
    words = quote(_words(data, response.body), account.credentials.values())
    reason = f": {words}" if words else ""
    if code[:3] in TRY_AGAIN:
        wait = retry_after_s(response.headers)
        raise NotTaken(f"Inteliquent cannot take this now and asks to try again later{reason}.", code, wait)
    if _is_wrong_key(code, words):
        raise Refused(f"Inteliquent did not accept the {api.keys}{reason}. Please check it and copy it again.", code)
    if success is False:
        raise Refused(f"Inteliquent refused this{reason}.", _word(data) or code, opted_out=says_opted_out(words))
    if code[:1] == "5":
        raise Doubtful(f"Inteliquent failed while it handled the request (code {code}){reason}.", code)
    if code not in ("", "200"):
        raise Refused(f"Inteliquent refused this (code {code}){reason}.", code, opted_out=says_opted_out(words))
    raise Doubtful(f"The answer of Inteliquent could not be understood (HTTP {response.status}).", "unreadable")


def _code(response: HttpResponse, data: Mapping[str, Any] | None) -> str:
    """The carrier's code: `statusCode` of the body, the gateway's XML fault, else an HTTP status of 400 and above."""
    in_body = clean(data.get("statusCode")).strip() if data is not None else ""
    if in_body:
        return in_body
    fault = _XML_CODE.search(response.body) if data is None else None
    if fault:
        return fault[1].decode()
    return str(response.status) if response.status >= 400 else ""


def _success(data: Mapping[str, Any]) -> bool | None:
    """What the broker's `success` says; an `error` without it is a no."""
    if data.get("success") is not None:
        return str(data["success"]).lower() == "true"
    return False if data.get("error") else None


def _is_wrong_key(code: str, words: str) -> bool:
    return code[:3] in ("401", "403") or code.startswith("9009") or (code == "408" and "privatekey" in words.lower())


def _words(data: Mapping[str, Any], body: bytes) -> list[object]:
    if data:
        return [data.get(name) for name in ("reason", "detail", "message", "error", "status")]
    message = _XML_MESSAGE.search(body)
    return [message[1].decode("utf-8", "replace")] if message else []


def _word(data: Mapping[str, Any]) -> str:
    """The carrier's code or one-word `reason`, "" when it only has sentences."""
    word = clean(data.get("statusCode")) or clean(data.get("reason"))
    return word if re.fullmatch(r"[\w.-]{1,40}", word) else ""
