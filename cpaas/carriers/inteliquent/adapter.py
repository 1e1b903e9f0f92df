"""The Inteliquent adapter; `cpaas.carriers.base.Carrier` says what each method promises."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cpaas.carriers.base import (
    CarrierAccount,
    CarrierNumber,
    CredentialField,
    Doubtful,
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
    WebhookAnswer,
    WebhookEvent,
    WebhookRequest,
)
from cpaas.carriers.inteliquent import hooks, records, webhook
from cpaas.carriers.inteliquent.calls import BROKER, SERVICES, accepted, ask, request
from cpaas.carriers.inteliquent.hooks import HookRow
from cpaas.carriers.media import media_request
from cpaas.carriers.wire import as_dict, as_list, clean, message_id, party, quote, says_opted_out, without_plus

# An item of the inventory takes about 400 bytes.
_PAGE_SIZE = 2000
_MOST_PAGES = 500


class Inteliquent:
    """Numbers and hooks, texts out, texts and receipts in, look-ups; without I/O and without state."""

    code: ClassVar[str] = "inteliquent"
    label: ClassVar[str] = "Inteliquent"
    credential_fields: ClassVar[tuple[CredentialField, ...]] = (
        CredentialField(
            "api_key",
            "API Key",
            "In the Inteliquent portal, open API Key from the home page and copy the key. "
            "If there is none, create one with Add New API Key.",
        ),
        CredentialField(
            "api_secret",
            "API Secret",
            "The secret that stands beside the API key on the same page. Both are used to provision numbers.",
        ),
        CredentialField(
            "outbound_api_key",
            "Outbound API Key",
            "In the Inteliquent portal, open Message Broker API from the main page and copy the Outbound API Key. "
            "If there is none, create one with Generate API Key. It is used to send messages.",
        ),
        CredentialField(
            "inbound_api_key",
            "Inbound API Key",
            "Signs the messages that Inteliquent delivers to us. Leave it empty and one is made at random.",
            required=False,
            generated=True,
        ),
    )
    default_options: ClassVar[Mapping[str, str]] = {
        "services_url": "https://services.inteliquent.com/Services/2.0.0",
        "broker_url": "https://messagebroker.inteliquent.com/msgbroker/rest",
    }
    supports_mms: ClassVar[bool] = True
    switches: ClassVar[tuple[Switch, ...]] = ()
    hook_scope: ClassVar[HookScope] = "number"
    receipts_get_lost: ClassVar[bool] = False

    def verify(self, account: CarrierAccount) -> Operation[None]:
        """Ask each interface for something harmless; an account without numbers yet is fine (S4.22)."""
        yield from ask(account, SERVICES, "/tnFeatureMessageList", {"pageSort": {"page": 1, "size": 1}})
        yield from hooks.list_rows(account)

    def find_number(self, account: CarrierAccount, tn: str) -> Operation[CarrierNumber]:
        """Look `tn` up in the account's inventory (S4.29). Not on the account: NumberNotOnAccount."""
        _require_north_american(tn)  # also keeps the mask's wildcard out
        search = {
            "tnSearchList": {"tnSearchItem": [{"tnMask": tn.removeprefix("+1")}]},
            "pageSort": {"page": 1, "size": 1},
        }
        data = yield from ask(account, SERVICES, "/tnDetail", search)
        for item in map(as_dict, as_list(as_dict(data.get("tnList")).get("tnItem"))):
            if party(item.get("tn")) == tn:
                return records.carrier_number(tn, item)
        raise NumberNotOnAccount.for_carrier(self.label)

    def list_numbers(self, account: CarrierAccount) -> Operation[list[CarrierNumber]]:
        """The whole inventory, page by page; a mask of wildcards finds every number."""
        found: list[CarrierNumber] = []
        page, last = 1, 1
        while page <= last:
            search = {
                "tnSearchList": {"tnSearchItem": [{"tnMask": "x" * 10}]},
                "pageSort": {"page": page, "size": _PAGE_SIZE},
            }
            data = yield from ask(account, SERVICES, "/tnDetail", search)
            items = [as_dict(item) for item in as_list(as_dict(data.get("tnList")).get("tnItem"))]
            found += [records.carrier_number(party(item.get("tn")), item) for item in items]
            last = min(records.whole(data.get("totalPages")), _MOST_PAGES) if items else 0
            page += 1
        return found

    def list_campaigns(self, account: CarrierAccount) -> Operation[Mapping[str, str]]:
        """The 10DLC campaigns of the account's numbers (facts 1.9)."""
        data = yield from ask(account, SERVICES, "/tnMessagingCampaignList", {})
        items = as_list(as_dict(data.get("tnMessageCampaignList")).get("tnMessageCampaignItem"))
        named = ((party(item.get("tn")), clean(item.get("msgCampaignId"))) for item in map(as_dict, items))
        return {tn: campaign for tn, campaign in named if tn and campaign}

    def set_hook(self, account: CarrierAccount, tn: str) -> Operation[Hook]:
        """Make our row the only inbound row of `tn` (S4.31).

        The carrier has no update and promises no uniqueness: add the row first, so that no text falls in between,
        then remove the older ones. Repeating it finishes what an interruption left.
        """
        wanted = _wanted_row(account, tn)
        before = yield from hooks.rows_of_number(account, tn)
        keep = next((row for row in reversed(before) if hooks.is_same(row, wanted)), None)
        if keep is None:
            keep = yield from hooks.add_row(account, wanted, known={row.hook.id for row in before})
        yield from hooks.remove_rows(account, [row for row in before if row.hook.id != keep.hook.id])
        return keep.hook

    def remove_hook(self, account: CarrierAccount, tn: str, former: Mapping[str, str]) -> Operation[int]:
        """Remove our rows of `tn`; a row that somebody pointed elsewhere is not ours to remove (S4.40).

        There is nothing to give back: rows of before were removed for good when ours was set.
        """
        wanted = _wanted_row(account, tn)
        rows = yield from hooks.rows_of_number(account, tn)
        ours = [row for row in rows if hooks.is_ours(row, wanted)]
        yield from hooks.remove_rows(account, ours)
        return len(ours)

    def list_hooks(self, account: CarrierAccount) -> Operation[list[Hook]]:
        return [row.hook for row in (yield from hooks.list_rows(account)) if row.inbound]

    def send(self, account: CarrierAccount, text: OutboundText) -> Operation[Sent]:
        """One recipient a call, because the carrier gives one id for all recipients of a call (R32)."""
        payload: dict[str, Any] = {"from": without_plus(text.from_number), "to": [without_plus(text.to_number)]}
        if text.text or not text.media_urls:
            payload["text"] = text.text
        if text.media_urls:
            payload["mediaUrls"] = list(text.media_urls)
        response = yield request(account, BROKER, "/publishMessages", payload)
        result = as_dict(accepted(account, BROKER, response).get("result"))
        for recipient in map(as_dict, as_list(result.get("resultResponses"))):
            word = clean(recipient.get("status"))
            if word and word.upper() != "SUCCESS":
                words = quote([word, recipient.get("reason"), recipient.get("detail")], account.credentials.values())
                opted_out = says_opted_out(words)
                raise Refused(f"Inteliquent did not take this message: {words}.", word, opted_out=opted_out)
        sid = message_id(result.get("referenceId"))
        if not sid:
            raise Doubtful("Inteliquent reported success but gave the message no id.", "no_id")
        return Sent(sid)

    def look_up(self, account: CarrierAccount, query: LookUp) -> Operation[list[LookUpMatch]]:
        """Records between the two numbers around the time of sending, newest first; they hold no message id."""
        data = yield from ask(account, SERVICES, "/messageDetailSearch", records.search(query))
        return records.matches(query, data)

    def media_request(self, account: CarrierAccount, url: str) -> HttpRequest:
        """Inteliquent names no hosts of its media and asks for no credentials; they get none."""
        return media_request(url, hosts=None)

    def authenticate(self, account: CarrierAccount, request: WebhookRequest) -> str:
        return webhook.authenticate(account.credentials.get("inbound_api_key", ""), request)

    def separate(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        return (request,)

    def parse_webhook(self, account: CarrierAccount, request: WebhookRequest) -> list[WebhookEvent]:
        return [webhook.parse(request.body)]

    def answer(self, events: Sequence[WebhookEvent]) -> WebhookAnswer:
        return webhook.ANSWER


def _require_north_american(tn: str) -> None:
    if not re.fullmatch(r"\+1[0-9]{10}", tn):
        raise NumberNotOnAccount.for_carrier(Inteliquent.label)


def _wanted_row(account: CarrierAccount, tn: str) -> HookRow:
    _require_north_american(tn)  # a hook without a number would be the default of the whole account
    return HookRow(None, True, tn, account.inbound_url, account.credentials["inbound_api_key"])
