"""Calls to such an API, and what their answers mean (R32)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

from cpaas.carriers.base import CarrierAccount, Doubtful, HttpRequest, HttpResponse, NotTaken, Operation, Refused
from cpaas.carriers.forms import FORM, encode_form
from cpaas.carriers.twilio_style.errors import OPTED_OUT, TRY_AGAIN
from cpaas.carriers.wire import as_dict, as_list, basic, clean, quote, read_json, retry_after_s, says_opted_out

# A list of numbers or texts comes in pages; one that never ends is not read for ever.
_MAX_PAGES = 2000
_NO_PAGE = ("", "null")


@dataclass(frozen=True)
class Api:
    """Whose API it is: the name people know, and what they call its keys."""

    label: str
    keys: str = "Account SID and Auth Token"


def request(
    account: CarrierAccount,
    path: str,
    *,
    form: Sequence[tuple[str, str]] | None = None,
    query: Mapping[str, str] | None = None,
) -> HttpRequest:
    """A call below our account; with a form a POST, otherwise a GET."""
    sid = quote_plus(account.credentials["account_sid"])
    url = f"{account.options['base_url'].rstrip('/')}/Accounts/{sid}{path}"
    headers = {
        "Authorization": basic(account.credentials["account_sid"], account.credentials["auth_token"]),
        "Accept": "application/json",
    }
    if query:
        url += "?" + urlencode(query)
    if form is None:
        return HttpRequest("GET", url, headers)
    return HttpRequest("POST", url, {**headers, "Content-Type": FORM}, encode_form(form))


def ask(
    account: CarrierAccount,
    api: Api,
    path: str,
    *,
    form: Sequence[tuple[str, str]] | None = None,
    query: Mapping[str, str] | None = None,
) -> Operation[Any]:
    """A call that may be repeated, so that a missing answer is no doubt but a reason to ask again."""
    try:
        response = yield request(account, path, form=form, query=query)
        return accepted(account, api, response)
    except Doubtful as error:
        raise NotTaken(error.detail, error.code) from error


class Pages:
    """A list that is read page by page, so that who has found what they look for stops.

    `names` are the members of a page that may hold its rows; a bare array is a list of one page.
    """

    def __init__(
        self, account: CarrierAccount, api: Api, path: str, names: Sequence[str], query: Mapping[str, str]
    ) -> None:
        self._account, self._api, self._path, self._names = account, api, path, names
        self._query: dict[str, str] | None = dict(query)
        self._read = 0

    def next(self) -> Operation[list[dict[str, Any]] | None]:
        """The rows of the next page, None after the last one."""
        if self._query is None or self._read == _MAX_PAGES:
            return None
        data = yield from ask(self._account, self._api, self._path, query=self._query)
        self._read += 1
        self._query = self._following(data, self._query)
        if isinstance(data, dict):
            data = next((data[name] for name in self._names if name in data), None)
        return [as_dict(row) for row in as_list(data)]

    def _following(self, data: Any, query: Mapping[str, str]) -> dict[str, str] | None:
        """Only the query of the next page's address is taken: where to ask is never the answer's to say."""
        if not isinstance(data, dict):
            return None
        address = clean(data.get("next_page_uri"))
        if address in _NO_PAGE:
            return None
        try:
            named = dict(parse_qsl(urlsplit(address).query))
        except ValueError:
            return None
        following = {**query, **named}
        return following if following != query else None


def accepted(account: CarrierAccount, api: Api, response: HttpResponse) -> Any:
    """The object or array of an answer that says yes. Raises NotTaken, Refused or Doubtful by what it says instead."""
    data = read_json(response.body)
    if 200 <= response.status < 300 and isinstance(data, dict | list):
        return data
    code = _code(response, as_dict(data))
    words = quote(_words(as_dict(data), response.body), account.credentials.values())
    reason = f": {words}" if words else ""
    if response.status in (429, 503) or code in TRY_AGAIN:
        wait = retry_after_s(response.headers)
        raise NotTaken(f"{api.label} cannot take this now and asks to try again later{reason}.", code, wait)
    if response.status == 401:
        raise Refused(
            f"{api.label} did not accept the {api.keys}{reason}. Please check them and copy them again.", code
        )
    if 400 <= response.status < 500:
        opted_out = code == OPTED_OUT or says_opted_out(words)
        raise Refused(f"{api.label} refused this (code {code}){reason}.", code, opted_out=opted_out)
    if response.status >= 500:
        raise Doubtful(f"{api.label} failed while it handled the request (HTTP {response.status}){reason}.", code)
    raise Doubtful(f"The answer of {api.label} could not be understood (HTTP {response.status}).", "unreadable")


def _code(response: HttpResponse, data: Mapping[str, Any]) -> str:
    """Twilio's `code`, Restcomm's `error`, else the HTTP status."""
    return clean(data.get("code")).strip() or clean(data.get("error")).strip() or str(response.status)


def _words(data: Mapping[str, Any], body: bytes) -> list[object]:
    """`message`, or a body that is a plain sentence; not a page of a proxy."""
    if data:
        return [data.get("message"), data.get("detail")]
    text = body[:1000].decode("utf-8", "replace").strip()
    return [] if text.startswith(("<", "{", "[")) else [text]
