"""Calls to Bandwidth's two interfaces, JSON for texts and XML for numbers, and what their answers mean (R32)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cpaas.carriers.base import CarrierAccount, Doubtful, HttpRequest, HttpResponse, NotTaken, Operation, Refused
from cpaas.carriers.wire import as_dict, as_list, basic, clean, quote, read_json, retry_after_s, says_opted_out

_XML = "application/xml; charset=utf-8"


def messaging_request(
    account: CarrierAccount,
    path: str,
    *,
    payload: Mapping[str, Any] | None = None,
    query: Mapping[str, str] | None = None,
) -> HttpRequest:
    """A call below our account of the messaging interface; with a payload a POST, otherwise a GET."""
    url = f"{account.options['messaging_url'].rstrip('/')}/users/{_account_id(account)}{path}"
    if query:
        url += "?" + urlencode(query)
    headers = {"Authorization": authorization(account), "Accept": "application/json"}
    if payload is None:
        return HttpRequest("GET", url, headers)
    return HttpRequest("POST", url, {**headers, "Content-Type": "application/json"}, json.dumps(payload).encode())


def authorization(account: CarrierAccount) -> str:
    return basic(account.credentials["username"], account.credentials["password"])


def ask_messaging(account: CarrierAccount, path: str, query: Mapping[str, str] | None = None) -> Operation[Any]:
    """A call that may be repeated, so that a missing answer is no doubt but a reason to ask again."""
    try:
        return accepted(account, (yield messaging_request(account, path, query=query)))
    except Doubtful as error:
        raise NotTaken(error.detail, error.code) from error


def ask_dashboard(account: CarrierAccount, path: str, *, body: Element | None = None) -> Operation[Element | None]:
    """The root of the answer, None when it is empty; with a body a PUT. May be repeated."""
    url = f"{account.options['dashboard_url'].rstrip('/')}/accounts/{_account_id(account)}{path}"
    headers = {"Authorization": authorization(account), "Accept": "application/xml"}
    request = HttpRequest("GET", url, headers)
    if body is not None:
        request = HttpRequest("PUT", url, {**headers, "Content-Type": _XML}, tostring(body, encoding="utf-8"))
    try:
        return accepted_xml(account, (yield request))
    except Doubtful as error:
        raise NotTaken(error.detail, error.code) from error


def accepted(account: CarrierAccount, response: HttpResponse) -> Any:
    """The object or array of an answer that says yes. Raises NotTaken, Refused or Doubtful by what it says instead."""
    data = read_json(response.body)
    if 200 <= response.status < 300 and isinstance(data, dict | list):
        return data
    said = as_dict(data)
    fields = [
        f"{row.get('fieldName')} {row.get('description')}" for row in map(as_dict, as_list(said.get("fieldErrors")))
    ]
    raise _no(account, response, clean(said.get("type")).strip(), [said.get("description"), *fields])


def accepted_xml(account: CarrierAccount, response: HttpResponse) -> Element | None:
    """Like `accepted`, for XML; an empty body is a yes too."""
    root = read_xml(response.body)
    is_read = not response.body.strip() or (root is not None and root.tag.lower() != "html")
    if 200 <= response.status < 300 and is_read:
        return root
    status = find(root, "ResponseStatus") if root is not None else None
    words = [text_of(status, "Description"), text_of(status, "ErrorCode")]
    raise _no(account, response, text_of(status, "ErrorCode"), words)


def read_xml(body: bytes) -> Element | None:
    """The root of an XML document without its namespace; None for anything else, and for one that is an attack."""
    try:
        root: Element = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return None
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    return root


def find(element: Element, name: str) -> Element | None:
    """The first element called `name`, at any depth."""
    return next(element.iter(name), None)


def text_of(element: Element | None, name: str) -> str:
    found = find(element, name) if element is not None else None
    return clean((found.text or "") if found is not None else "").strip()


def _account_id(account: CarrierAccount) -> str:
    return quote_plus(account.credentials["account_id"])


def _no(account: CarrierAccount, response: HttpResponse, word: str, said: Iterable[object]) -> Exception:
    """What an answer that is no yes means; `word` is the carrier's name for it."""
    words = quote(said, account.credentials.values())
    reason = f": {words}" if words else ""
    code = word or str(response.status)
    if response.status in (429, 503):
        wait = retry_after_s(response.headers)
        return NotTaken(
            f"Bandwidth cannot take this now and asks to try again later{reason}.", str(response.status), wait
        )
    if response.status == 401:
        return Refused(
            f"Bandwidth did not accept the API user name and password{reason}. Please check them and copy them again.",
            "401",
        )
    if response.status == 403:
        return Refused(f"Bandwidth does not let this API user use the account{reason}.", "403")
    if response.status == 404:
        return Refused(f"Bandwidth does not have this{reason}.", "404")
    if 400 <= response.status < 500:
        return Refused(f"Bandwidth refused this ({code}){reason}.", code, opted_out=says_opted_out(f"{word} {words}"))
    if response.status >= 500:
        return Doubtful(f"Bandwidth failed while it handled the request (HTTP {response.status}){reason}.", code)
    return Doubtful(f"The answer of Bandwidth could not be understood (HTTP {response.status}).", "unreadable")
