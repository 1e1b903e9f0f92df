"""The Bandwidth adapter; `cpaas.carriers.base.Carrier` says what each method promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote_plus

from cpaas.carriers.bandwidth import applications, records, webhook
from cpaas.carriers.bandwidth.calls import accepted, ask_dashboard, ask_messaging, authorization, messaging_request
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
from cpaas.carriers.media import media_request
from cpaas.carriers.wire import as_dict, message_id, ten_digits


class Bandwidth:
    """Numbers and the application's hook, texts out, texts and receipts in, look-ups; without I/O and without state."""

    code: ClassVar[str] = "bandwidth"
    label: ClassVar[str] = "Bandwidth"
    credential_fields: ClassVar[tuple[CredentialField, ...]] = (
        CredentialField(
            "account_id",
            "Account ID",
            "In the Bandwidth App, the number beside the account's name at the top right.",
            secret=False,
        ),
        CredentialField(
            "username",
            "API User Name",
            "An API user of the Bandwidth App under Account, Users, with the roles for messaging, numbers and "
            "applications.",
            secret=False,
        ),
        CredentialField("password", "API Password", "The password of the API user."),
        CredentialField(
            "application_id",
            "Application ID",
            "In the Bandwidth App under Applications: the messaging application that your numbers' locations use. All "
            "its numbers share one webhook, which is led to this portal with the first number you add here.",
            secret=False,
        ),
        CredentialField(
            "callback_user",
            "Callback User Name",
            "With the callback password it identifies what Bandwidth delivers to us. Leave it empty and one is made.",
            required=False,
            generated=True,
        ),
        CredentialField(
            "callback_password",
            "Callback Password",
            "Leave it empty and one is made at random.",
            required=False,
            generated=True,
        ),
    )
    default_options: ClassVar[Mapping[str, str]] = {
        "messaging_url": "https://messaging.bandwidth.com/api/v2",
        "dashboard_url": "https://dashboard.bandwidth.com/api",
    }
    supports_mms: ClassVar[bool] = True
    switches: ClassVar[tuple[Switch, ...]] = ()
    hook_scope: ClassVar[HookScope] = "application"
    receipts_get_lost: ClassVar[bool] = False

    def verify(self, account: CarrierAccount) -> Operation[None]:
        """Ask messaging for something harmless and the dashboard for the application (S4.22)."""
        yield from ask_messaging(account, "/media")
        yield from applications.read(account)

    def find_number(self, account: CarrierAccount, tn: str) -> Operation[CarrierNumber]:
        """Whether `tn` is in service on the account (S4.29). Not on the account: NumberNotOnAccount."""
        try:
            yield from ask_dashboard(account, f"/inservice_numbers/{quote_plus(ten_digits(tn))}")
        except Refused as error:
            if error.code == "404":
                raise NumberNotOnAccount.for_carrier(self.label) from error
            raise
        application = yield from applications.read(account)
        former = applications.former(account, application)
        note = ""
        if former:
            note = (
                f"The messages of all numbers of the application {account.credentials['application_id']} went to "
                "another address before. They come here now."
            )
        return CarrierNumber(tn, True, True, True, former_hook=former, note=note)

    def set_hook(self, account: CarrierAccount, tn: str) -> Operation[Hook]:
        """Lead the application of our numbers to us, `tn` with it (S4.31)."""
        application = yield from applications.read(account)
        return (yield from applications.lead_to_us(account, application))

    def remove_hook(self, account: CarrierAccount, tn: str, former: Mapping[str, str]) -> Operation[int]:
        """Let the application post where it did before us; unless somebody led it elsewhere meanwhile."""
        try:
            application = yield from applications.read(account)
        except Refused as error:
            if error.code == "no_application":
                return 0
            raise
        if not applications.is_ours(account, application):
            return 0
        yield from applications.give_back(account, application, former)
        return 1

    def list_hooks(self, account: CarrierAccount) -> Operation[list[Hook]]:
        hook = applications.hook(account, (yield from applications.read(account)))
        return [hook] if hook.url else []

    def send(self, account: CarrierAccount, text: OutboundText) -> Operation[Sent]:
        """Hand one text to one recipient over; 202 with an id is a yes (R32)."""
        payload: dict[str, Any] = {
            "applicationId": account.credentials["application_id"],
            "from": text.from_number,
            "to": [text.to_number],
        }
        if text.text or not text.media_urls:
            payload["text"] = text.text
        if text.media_urls:
            payload["media"] = list(text.media_urls)
        if text.reference:
            payload["tag"] = text.reference
        said = as_dict(accepted(account, (yield messaging_request(account, "/messages", payload=payload))))
        sid = message_id(said.get("id"))
        if not sid:
            raise Doubtful("Bandwidth reported success but gave the message no id.", "no_id")
        return Sent(sid)

    def look_up(self, account: CarrierAccount, query: LookUp) -> Operation[list[LookUpMatch]]:
        return records.matches(query, (yield from ask_messaging(account, "/messages", records.search(query))))

    def media_request(self, account: CarrierAccount, url: str) -> HttpRequest:
        """Media lie behind the messaging interface."""
        own = account.options["messaging_url"]
        return media_request(url, own_url=own, authorization=authorization(account), hosts=(".bandwidth.com",))

    def authenticate(self, account: CarrierAccount, request: WebhookRequest) -> str:
        """Bandwidth signs nothing and has no nonce: the same call is the same body."""
        user, password = (account.credentials.get(name, "") for name in ("callback_user", "callback_password"))
        webhook.authenticate(user, password, request)
        return ""

    def separate(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        return webhook.separate(request)

    def parse_webhook(self, account: CarrierAccount, request: WebhookRequest) -> list[WebhookEvent]:
        return webhook.parse(request.body)

    def answer(self, events: Sequence[WebhookEvent]) -> WebhookAnswer:
        return webhook.ANSWER
