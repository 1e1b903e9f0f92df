"""What every carrier adapter is: a pure translator between our words and a carrier's wire.

An adapter does no I/O, knows no Django and no database. An operation that needs one or more HTTP
exchanges is a generator: it yields an `HttpRequest`, is sent the `HttpResponse`, and returns its
result or raises one of the errors below. `cpaas.transport` drives it, blocking or in asyncio, so
that time-outs, redaction and the question "was it taken?" (R32) are answered in one place.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Literal, Protocol, TypeVar, runtime_checkable


@dataclass(frozen=True)
class HttpRequest:
    """One request to a carrier; logs show its method and URL, never headers or body, and so does its `repr`.

    The transport reads at most `max_response_bytes` of the answer; raise it only for lists that grow with the account.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    max_response_bytes: int = 1_000_000


@dataclass(frozen=True)
class HttpResponse:
    """One answer of a carrier; header names in lower case, the body as received."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


ResultT = TypeVar("ResultT")
Operation = Generator[HttpRequest, HttpResponse, ResultT]


class CarrierError(Exception):
    """Something a carrier said or did not say. `detail` is a sentence for a person, `code` the carrier's own word."""

    def __init__(self, detail: str, code: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


class Refused(CarrierError):
    """The carrier said no for certain: wrong key, bad number, `success: false`. Asking again is no use (R32).

    `opted_out`: because the remote party told the carrier STOP, which stops the pair here too (R20).
    """

    def __init__(self, detail: str, code: str = "", *, opted_out: bool = False) -> None:
        super().__init__(detail, code)
        self.opted_out = opted_out


class NotTaken(CarrierError):
    """The carrier surely did not take it: not reached, 429, 503 or its own try-again code. May be asked again (R32)."""

    def __init__(self, detail: str, code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(detail, code)
        self.retry_after_s = retry_after_s


class Doubtful(CarrierError):
    """The request went out and no usable answer came: it may or may not have been taken (R32)."""


class NumberNotOnAccount(Refused):
    """The TN does not belong to this carrier account (S4.29)."""

    @classmethod
    def for_carrier(cls, label: str) -> NumberNotOnAccount:
        """With the text that S4.29 prescribes; `label` is the carrier's name."""
        return cls(
            f"This number is not assigned to this {label} account, please check the number and try again "
            f"or check with the {label} customer portal for more information"
        )


class ForbiddenWebhook(CarrierError):
    """A webhook call without the right signature or account; answered 403, nothing stored."""


class UnreadableWebhook(CarrierError):
    """A webhook call without object, form or message id; answered 400."""


@dataclass(frozen=True)
class CredentialField:
    """One thing staff paste from the carrier's portal (S4.10). `generated`: made at random when left out."""

    name: str
    label: str
    help_text: str
    secret: bool = True
    required: bool = True
    generated: bool = False


@dataclass(frozen=True)
class Switch:
    """An on/off option that only platforms of one carrier have; off unless staff switch it on."""

    name: str
    label: str
    help_text: str


@dataclass(frozen=True)
class CarrierAccount:
    """A CPaaS platform as an adapter sees it: plain credentials, options with defaults filled in, our webhook URLs.

    `switches` are the names of those that are on. Its `repr`, which exceptions and log lines show, has no secret.
    """

    credentials: Mapping[str, str] = field(repr=False)
    options: Mapping[str, str]
    inbound_url: str = field(repr=False)
    status_url: str = field(repr=False)
    switches: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CarrierNumber:
    """What the carrier says of a TN. `messaging_class`: the carrier's word (`P2P`, `A2PLC`), "" when it has none.

    `former_hook` is where its texts go now, in the carrier's own fields, for `remove_hook` to give back later; empty
    when they go nowhere or to us. `note` is a sentence for staff, "" when there is nothing to say.
    """

    tn: str
    in_service: bool
    sms: bool
    mms: bool
    messaging_class: str = ""
    status_word: str = ""
    former_hook: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


HookScope = Literal["number", "application"]


@dataclass(frozen=True)
class Hook:
    """One inbound webhook row at the carrier. `tn` in E.164, "" for a row that serves several numbers."""

    id: str
    tn: str
    url: str


@dataclass(frozen=True)
class OutboundText:
    """One text to one remote party; numbers in E.164. With `media_urls` it is an MMS.

    `reference` is our own name of the attempt, which some carriers repeat in receipts.
    """

    from_number: str
    to_number: str
    text: str
    media_urls: Sequence[str] = ()
    reference: str = ""


@dataclass(frozen=True)
class Sent:
    """The carrier took the text and calls it `sid`. `note` is what is wrong with it all the same, `code` its name.

    `parts` are the ids of all messages the text went out in, empty when it is one (R21).
    """

    sid: str
    note: str = ""
    code: str = ""
    parts: tuple[str, ...] = ()


ReceiptStatus = Literal["queued", "sent", "delivered", "undelivered", "failed"]


@dataclass(frozen=True)
class InboundText:
    """An inbound SMS or MMS. `sender` is E.164 or, for short codes and alphanumeric senders, verbatim (facts 4.5).

    `recipients` are our own TNs in E.164; more than one in a group MMS. `renamed_when_repeated`: the carrier gives a
    text that the network delivered twice two ids, so that only its content tells (facts 2.7).
    """

    sid: str
    sender: str
    recipients: tuple[str, ...]
    text: str
    media_urls: tuple[str, ...] = ()
    renamed_when_repeated: bool = False


@dataclass(frozen=True)
class ListedText:
    """An inbound text that the carrier has on record, and when it took it in by its own clock."""

    at: datetime
    text: InboundText


@dataclass(frozen=True)
class Receipt:
    """A delivery receipt for `sid`. `status` None: an unknown word, which changes nothing (R21); `word` keeps it.

    `opted_out`: the text failed because the remote party told the carrier STOP, which stops the pair here too (R20).
    `reference` is the one the text was sent with, where the carrier repeats it.
    """

    sid: str
    status: ReceiptStatus | None
    word: str
    error_code: str = ""
    error_text: str = ""
    opted_out: bool = False
    reference: str = ""


WebhookEvent = InboundText | Receipt


@dataclass(frozen=True)
class WebhookRequest:
    """A call to one of our webhook URLs; header names in lower case, body at most 1 MB as received.

    `url` is the address as the carrier called it, query included; "" when a kept call is read again. All are for the
    carrier's and our eyes only.
    """

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    content_type: str
    url: str = field(default="", repr=False)


@dataclass(frozen=True)
class WebhookAnswer:
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True)
class LookUp:
    """Which text to look for at the carrier: its id when we have it, else by numbers and the time it was sent.

    `earliest` and `latest`: as far as the carrier's clock and its queue may put a text away from that time.
    """

    from_number: str
    to_number: str
    sent_at: datetime
    sid: str = ""

    @property
    def earliest(self) -> datetime:
        return self.sent_at - timedelta(minutes=2)

    @property
    def latest(self) -> datetime:
        return self.sent_at + timedelta(minutes=10)


@dataclass(frozen=True)
class LookUpMatch:
    """A text the carrier has on record. `status` None when its word says nothing about the fate."""

    at: datetime
    to_number: str
    status: ReceiptStatus | None
    word: str
    sid: str = ""
    error_code: str = ""
    error_text: str = ""


@runtime_checkable
class ListsInbound(Protocol):
    """What an adapter has besides, when its carrier tells of an inbound text once and never again (R37)."""

    def list_inbound(self, account: CarrierAccount, since: datetime) -> Operation[list[ListedText]]:
        """Every text that came in since then, those that we were told of too. Raises Refused, NotTaken."""
        ...


class Carrier(Protocol):
    """The contract of an adapter; one file and one line in `cpaas.carriers.registry` per carrier."""

    code: ClassVar[str]
    label: ClassVar[str]
    credential_fields: ClassVar[tuple[CredentialField, ...]]
    default_options: ClassVar[Mapping[str, str]]
    """Base URLs with the version part; every value is a URL."""
    supports_mms: ClassVar[bool]
    switches: ClassVar[tuple[Switch, ...]]
    hook_scope: ClassVar[HookScope]
    """Whether each number has a hook of its own, or all numbers of the account's application share one."""
    receipts_get_lost: ClassVar[bool]
    """Whether the carrier tells a text's fate once and never again, so that it is asked about those it left open."""

    def verify(self, account: CarrierAccount) -> Operation[None]:
        """Check every credential (S4.22). Raises Refused (which key is wrong) or NotTaken."""
        ...

    def find_number(self, account: CarrierAccount, tn: str) -> Operation[CarrierNumber]:
        """What the carrier knows of `tn` (S4.29). Raises NumberNotOnAccount, Refused, NotTaken."""
        ...

    def set_hook(self, account: CarrierAccount, tn: str) -> Operation[Hook]:
        """Make inbound texts of `tn` come to `account.inbound_url`; safe to repeat (S4.31)."""
        ...

    def remove_hook(self, account: CarrierAccount, tn: str, former: Mapping[str, str]) -> Operation[int]:
        """Undo `set_hook`; returns how many hooks were removed, 0 when none was left (S4.40).

        `former` is the number's `former_hook` from before. Where the application has the hook, the caller sees to it
        that no other number needs it.
        """
        ...

    def list_hooks(self, account: CarrierAccount) -> Operation[list[Hook]]: ...

    def send(self, account: CarrierAccount, text: OutboundText) -> Operation[Sent]:
        """Hand one text over. Raises Refused, NotTaken or Doubtful and never leaves it open which (R32)."""
        ...

    def look_up(self, account: CarrierAccount, query: LookUp) -> Operation[list[LookUpMatch]]:
        """The carrier's records that may be this text, newest first."""
        ...

    def media_request(self, account: CarrierAccount, url: str) -> HttpRequest:
        """How to fetch a medium of an inbound text, or what the carrier redirected it to: ask again at each redirect.

        Only requests to the carrier's own interface carry credentials. Raises Refused for an address that no medium
        of this carrier has.
        """
        ...

    def authenticate(self, account: CarrierAccount, request: WebhookRequest) -> str:
        """The call's nonce ("" where the carrier has none). Raises ForbiddenWebhook."""
        ...

    def separate(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        """A call for each event of a call that has several, so that each is kept, and goes, with its own text (R18)."""
        ...

    def parse_webhook(self, account: CarrierAccount, request: WebhookRequest) -> list[WebhookEvent]:
        """What the call says. Raises UnreadableWebhook. Bad bytes are replaced, NUL removed."""
        ...

    def answer(self, events: Sequence[WebhookEvent]) -> WebhookAnswer:
        """The answer the carrier takes as success (contracts section 3)."""
        ...
