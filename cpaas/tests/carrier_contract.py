"""What every carrier adapter must do: say in a `CarrierWire` what the carrier's wire looks like, and inherit from
`CarrierContract` (here, without database) and `IntakeContract` (carrier_intake.py, through our own door).

Also the means to play an operation without a network.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from cpaas.carriers.base import (
    CarrierAccount,
    CarrierError,
    Doubtful,
    ForbiddenWebhook,
    HttpRequest,
    HttpResponse,
    InboundText,
    NotTaken,
    NumberNotOnAccount,
    Operation,
    OutboundText,
    Receipt,
    Refused,
    UnreadableWebhook,
    WebhookRequest,
)
from cpaas.carriers.registry import CARRIERS, get_carrier


@dataclass
class Played:
    """What came of an operation: its result or its error, and the requests it made."""

    result: Any = None
    error: CarrierError | None = None
    requests: list[HttpRequest] = field(default_factory=list)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.body) for request in self.requests]

    @property
    def forms(self) -> list[list[tuple[str, str]]]:
        return [parse_qsl(request.body.decode(), keep_blank_values=True) for request in self.requests]

    @property
    def paths(self) -> list[str]:
        return [request.url.rsplit("/", 1)[1] for request in self.requests]


def answer(body: Any = b"", status: int = 200, **headers: str) -> HttpResponse:
    """An answer; anything but bytes becomes JSON. `retry_after=…` gives a header."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def play(operation: Operation[Any], *answers: HttpResponse | CarrierError) -> Played:
    """Run an operation against prepared answers, which must be exactly as many as it asks for."""
    played, script = Played(), iter(answers)
    try:
        request = next(operation)
        while True:
            played.requests.append(request)
            said = next(script)
            request = operation.throw(said) if isinstance(said, CarrierError) else operation.send(said)
    except StopIteration as finished:
        played.result = finished.value
    except CarrierError as error:
        played.error = error
    assert not list(script), "the operation asked less than expected"
    return played


TN = "+12019920781"
REMOTE = "+12015550123"


class CarrierWire(ABC):
    """What the carrier's wire looks like. Calls are signed for the account they are made for."""

    code: str
    account: CarrierAccount
    taken: HttpResponse
    """An answer to `send` that calls the message `sid-1`."""
    refusals: Iterable[HttpResponse]
    """Answers to `send` that mean no for certain, 4xx aside."""
    opt_outs: Iterable[HttpResponse]
    """Those that say that the recipient opted out."""
    words: Mapping[str, str]
    """The carrier's words in receipts for our *sent*, *delivered* and *failed*."""
    spellings: Sequence[Any]
    """The ways in which the carrier may write our number `TN`."""
    unreadable: Sequence[bytes]
    """Bodies without object, form or message id."""
    has_media = True

    @abstractmethod
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
        """A call that brings a text, as an MMS when it has media."""

    @abstractmethod
    def receipt(self, account: CarrierAccount, sid: str, word: str) -> WebhookRequest:
        """A call that says what became of a text, in the carrier's own `word`."""

    @abstractmethod
    def broken(self, account: CarrierAccount, to: str = TN) -> WebhookRequest:
        """A call whose text is `caf`, a byte that is no UTF-8, a NUL and `!`."""

    @abstractmethod
    def group(self, account: CarrierAccount, recipients: Sequence[str]) -> list[WebhookRequest]:
        """The call or calls that bring one group MMS to several of our numbers."""


class CarrierContract(CarrierWire):
    """The rules that all adapters share, as far as they need no database."""

    text = OutboundText(TN, REMOTE, "Hello")

    def parse(self, request: WebhookRequest) -> InboundText | Receipt:
        (event,) = get_carrier(self.code).parse_webhook(self.account, request)
        return event

    def send(self, *answers: HttpResponse | CarrierError, text: OutboundText | None = None) -> Played:
        return play(get_carrier(self.code).send(self.account, text or self.text), *answers)

    def test_it_is_registered_with_labelled_fields(self) -> None:
        carrier = CARRIERS[self.code]
        assert carrier.code == self.code
        assert all(field.label and field.help_text for field in carrier.credential_fields)
        assert all(switch.label and switch.help_text for switch in carrier.switches)
        assert set(self.account.options) == set(carrier.default_options)

    def test_r32_a_taken_text_has_the_carriers_id(self) -> None:
        assert self.send(self.taken).result.sid == "sid-1"

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
    def test_r32_a_4xx_is_a_certain_no(self, status: int) -> None:
        assert isinstance(self.send(answer(b"", status)).error, Refused)

    @pytest.mark.parametrize("status", [429, 503])
    def test_r32_throttled_and_unavailable_were_not_taken(self, status: int) -> None:
        error = self.send(answer(b"<html>busy</html>", status, retry_after="7")).error
        assert isinstance(error, NotTaken)
        assert error.retry_after_s == 7

    @pytest.mark.parametrize("status", [200, 201, 301, 302, 500, 502, 504, 599])
    def test_r32_an_unusable_answer_leaves_it_open(self, status: int) -> None:
        assert isinstance(self.send(answer(b"<html><h1>Oops</h1></html>", status)).error, Doubtful)

    def test_r32_the_carriers_own_no_is_certain(self) -> None:
        for refusal in self.refusals:
            assert isinstance(self.send(refusal).error, Refused), refusal

    @pytest.mark.parametrize("error", [NotTaken("down"), Doubtful("silence")])
    def test_r32_send_keeps_what_the_transport_found_out(self, error: CarrierError) -> None:
        assert self.send(error).error is error

    @pytest.mark.parametrize("operation", ["verify", "find_number", "set_hook", "remove_hook", "list_hooks"])
    @pytest.mark.parametrize("said", [Doubtful("silence"), answer(b"<html/>", 502), answer(b"<html/>")])
    def test_s4_22_what_may_be_repeated_is_never_doubtful(self, operation: str, said: Any) -> None:
        arguments: dict[str, tuple[Any, ...]] = {"verify": (), "list_hooks": (), "remove_hook": (TN, {})}
        started = getattr(get_carrier(self.code), operation)(self.account, *arguments.get(operation, (TN,)))
        assert isinstance(play(started, said).error, NotTaken)

    def test_s4_29_a_number_that_is_not_there_has_the_prescribed_text(self) -> None:
        label = get_carrier(self.code).label
        assert NumberNotOnAccount.for_carrier(label).detail == (
            f"This number is not assigned to this {label} account, please check the number and try again "
            f"or check with the {label} customer portal for more information"
        )

    def test_no_credentials_go_to_another_host_than_the_carriers(self) -> None:
        """A link in a text, and each redirect, is asked about anew."""
        for url in ("https://evil.example/a.jpg", "https://api.twilio.com.evil.example/a", "//evil.example/a"):
            try:
                request = get_carrier(self.code).media_request(self.account, url)
            except Refused:
                continue
            assert "Authorization" not in request.headers

    @pytest.mark.parametrize(
        "url", ["file:///etc/passwd", "http://[broken", "", "https://u:p@m.test/a", "ftp://m.test/"]
    )
    def test_what_is_no_web_address_is_never_fetched(self, url: str) -> None:
        with pytest.raises(Refused):
            get_carrier(self.code).media_request(self.account, url)

    def test_r20_a_recipient_who_opted_out_is_told_apart(self) -> None:
        for refusal in self.opt_outs:
            error = self.send(refusal).error
            assert isinstance(error, Refused), refusal
            assert error.opted_out, error.detail
        for refusal in self.refusals:
            assert not self.send(refusal).error.opted_out

    def test_no_secret_of_ours_comes_back_in_an_error_text(self) -> None:
        for secret in self.account.credentials.values():
            echoed = {"success": False, "reason": f"bad {secret}", "message": secret, "detail": secret}
            error = self.send(answer(echoed, 400)).error
            assert secret not in f"{error.detail} {error.code}"

    def test_a_webhook_with_the_right_signature_is_read(self) -> None:
        carrier, request = get_carrier(self.code), self.inbound(self.account, "Grüße 🎉")
        carrier.authenticate(self.account, request)
        event = self.parse(request)
        assert event == InboundText("in-1", REMOTE, (TN,), "Grüße 🎉")
        assert carrier.answer([event]).status in (200, 204)

    @pytest.mark.parametrize("sender", ["72345", "AMAZON"])
    def test_short_codes_and_names_arrive_verbatim(self, sender: str) -> None:
        event = self.parse(self.inbound(self.account, "Hi", sender=sender))
        assert isinstance(event, InboundText)
        assert event.sender == sender

    def test_our_number_is_read_however_it_is_written(self) -> None:
        """As text or number, with or without country code and plus sign."""
        for spelling in self.spellings:
            event = self.parse(self.inbound(self.account, "Hi", to=spelling))
            assert isinstance(event, InboundText)
            assert event.recipients == (TN,), spelling

    @pytest.mark.parametrize("text", ["", "👋🏽", "x" * 1600, "ŵ" * 1600, " \n", "a&b=c+d%20e;f", "'\"<>\\"])
    def test_every_text_arrives_as_it_was_sent(self, text: str) -> None:
        event = self.parse(self.inbound(self.account, text))
        assert isinstance(event, InboundText)
        assert event.text == text

    def test_every_medium_arrives_in_order_with_or_without_a_text(self) -> None:
        if not self.has_media:
            return
        media = ["https://m.test/1.jpg", "https://m.test/layout.smil", "https://m.test/2.png?x=1"]
        for text in ("", "Look"):
            event = self.parse(self.inbound(self.account, text, media=media))
            assert isinstance(event, InboundText)
            assert (event.text, event.media_urls) == (text, (media[0], media[2]))

    def test_bad_bytes_are_replaced_and_nul_is_removed(self) -> None:
        event = self.parse(self.broken(self.account))
        assert isinstance(event, InboundText)
        assert event.text == "caf\ufffd!"

    def test_a_group_text_names_each_of_our_numbers_once(self) -> None:
        ours = (TN, "+12019920782")
        events = [self.parse(request) for request in self.group(self.account, ours)]
        assert sorted(own for event in events if isinstance(event, InboundText) for own in event.recipients) == list(
            ours
        )

    def test_r21_the_carriers_words_are_ours(self) -> None:
        for status, word in self.words.items():
            event = self.parse(self.receipt(self.account, "sid-1", word))
            assert isinstance(event, Receipt)
            assert (event.sid, event.status) == ("sid-1", status)
            assert bool(event.error_text) == (status == "failed")

    def test_an_unknown_receipt_word_changes_nothing_and_is_kept(self) -> None:
        assert self.parse(self.receipt(self.account, "sid-1", "BEWILDERED")) == Receipt("sid-1", None, "BEWILDERED")

    def test_a_wrong_secret_is_forbidden(self) -> None:
        other = replace(self.account, credentials=dict.fromkeys(self.account.credentials, "other"))
        for request in (self.inbound(self.account, "Hello"), self.receipt(self.account, "sid-1", "x")):
            with pytest.raises(ForbiddenWebhook):
                get_carrier(self.code).authenticate(other, request)

    def test_a_body_without_object_or_id_is_unreadable(self) -> None:
        request = self.inbound(self.account, "")
        for body in (b"", b"\xff\xfe", b"{", b"[" * 100_000, b"9" * 5000, b"&" * 5000, *self.unreadable):
            with pytest.raises(UnreadableWebhook):
                get_carrier(self.code).parse_webhook(self.account, replace(request, body=body))

    def test_r18_a_call_of_one_event_is_kept_as_it_came(self) -> None:
        for request in (self.inbound(self.account, "Hi"), self.broken(self.account)):
            assert list(get_carrier(self.code).separate(request)) == [request]

    def test_a_kept_call_is_read_the_same_without_the_address_it_came_to(self) -> None:
        """As when the spool or a person takes it in later."""
        for request in (self.inbound(self.account, "Hi"), self.receipt(self.account, "sid-1", self.words["sent"])):
            assert self.parse(replace(request, url="", headers={})) == self.parse(request)
