"""The broker's authorizations table: inbound hooks of numbers, and among them the account's outbound keys.

`removeAuthorization` deletes either kind. Nothing here ever names a row that is not an inbound row of a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cpaas.carriers.base import CarrierAccount, Hook, NotTaken, Operation
from cpaas.carriers.inteliquent.calls import BROKER, ask
from cpaas.carriers.wire import as_dict, as_list, clean, party, without_plus


@dataclass(frozen=True)
class HookRow:
    """A row of the table. `auth_id` as received (text or number), because it goes back as it came."""

    auth_id: Any
    inbound: bool
    tn: str
    url: str
    api_key: str

    @property
    def hook(self) -> Hook:
        return Hook(clean(self.auth_id), self.tn, self.url)


def list_rows(account: CarrierAccount) -> Operation[list[HookRow]]:
    """Every row, outbound keys included."""
    return _read_rows((yield from ask(account, BROKER, "/selectAuthorization", {})))


def rows_of_number(account: CarrierAccount, tn: str) -> Operation[list[HookRow]]:
    return [row for row in (yield from list_rows(account)) if row.inbound and row.tn == tn]


def is_same(row: HookRow, wanted: HookRow) -> bool:
    return (row.tn, row.url, row.api_key) == (wanted.tn, wanted.url, wanted.api_key)


def is_ours(row: HookRow, wanted: HookRow) -> bool:
    """Made by us: it calls our URL or, set before that changed, is signed with our key."""
    return row.url == wanted.url or row.api_key == wanted.api_key != ""


def add_row(account: CarrierAccount, wanted: HookRow, known: set[str]) -> Operation[HookRow]:
    """Add a row and learn its id, from the answer or, when the answer does not tell, from the list.

    `known` are the ids that were there before; a carrier that changes a row in place answers with one of them.
    """
    row = {"inboundAuth": True, "webhookUrl": wanted.url, "apiKey": wanted.api_key, "tn": without_plus(wanted.tn)}
    answer = yield from ask(account, BROKER, "/configureAuthorization", {"authorizations": [row]})
    added = _find_added(_read_rows(answer), wanted, known) or _find_added(
        (yield from rows_of_number(account, wanted.tn)), wanted, known
    )
    if added is None:
        raise NotTaken("Inteliquent accepted the webhook of this number but does not list it.", "hook_not_listed")
    return added


def _find_added(rows: Sequence[HookRow], wanted: HookRow, known: set[str]) -> HookRow | None:
    matches = [row for row in rows if row.tn == wanted.tn and row.url == wanted.url]
    matches = [row for row in matches if row.api_key in ("", wanted.api_key)]
    fresh = [row for row in matches if row.hook.id not in known]
    return next(reversed(fresh or matches), None)


def remove_rows(account: CarrierAccount, rows: Sequence[HookRow]) -> Operation[None]:
    """Remove rows, whatever the caller passes only inbound rows of a number."""
    ids = [{"authId": row.auth_id} for row in rows if row.inbound and row.tn]
    if ids:
        yield from ask(account, BROKER, "/removeAuthorization", {"authorizations": ids})


def _read_rows(data: Mapping[str, Any]) -> list[HookRow]:
    listed = as_list(as_dict(data.get("authConfig")).get("authorizations"))
    return [
        HookRow(
            auth_id=row["authId"],
            inbound=str(row.get("inboundAuth")).lower() == "true",
            tn=party(row.get("tn")),
            url=clean(row.get("webhookUrl")),
            api_key=clean(row.get("apiKey")),
        )
        for row in map(as_dict, listed)
        if clean(row.get("authId"))
    ]
