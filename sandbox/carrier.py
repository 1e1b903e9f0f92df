"""What every simulated carrier has: a front door that can be broken, numbers, texts taken, receipts and inbound texts.

A carrier of its own is a subclass that knows one wire contract.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar

from aiohttp import web

from sandbox.calls import Call, Inbound, Settings
from sandbox.delivery import Courier, Delivery, Post
from sandbox.faults import Fault, Faults, close_connection, hold, reset_connection
from sandbox.fields import Field
from sandbox.media import LAYOUT, Media, Shelf
from sandbox.receipts import Plan, Plans
from sandbox.store import Exchange, Hook, Journal, Message, Number, World

STATES = ("up", "refusing", "unavailable", "hanging")


class Carrier(ABC):
    """One simulated carrier with one account; everything but the wire contract."""

    name: ClassVar[str]
    port_offset: ClassVar[int]
    start_credentials: ClassVar[Mapping[str, str]]
    # Credentials that may be set and are not there at the start.
    optional_credentials: ClassVar[tuple[str, ...]] = ()
    # Further settings of its own, as the control API reads them.
    own_settings: ClassVar[Mapping[str, Field]] = {}

    def __init__(self, world: World, courier: Courier, base_url: str, common_url: str) -> None:
        """`base_url`: the carrier's own port; `common_url`: the one that all share, another host to any client."""
        self.world = world
        self.courier = courier
        self.base_url = base_url
        self.common_url = common_url
        self.state_changed = asyncio.Event()
        self.clear()

    def clear(self) -> None:
        """Everything as at the start; subclasses clear what is theirs."""
        self.settings = self.start_settings()
        self.credentials: dict[str, str] = dict(self.start_credentials)
        self.numbers: dict[str, Number] = {number.tn: number for number in self.start_numbers()}
        self.faults = Faults()
        self.plans = Plans()
        self.requests: Journal[Exchange] = Journal()
        self.deliveries: Journal[Delivery] = Journal()
        self.messages: Journal[Message] = Journal(keep=None)
        self.received: Journal[Message] = Journal()
        self.by_sid: dict[str, list[Message]] = {}
        self.media = Shelf()

    # What a wire contract has to say.

    def start_settings(self) -> Settings:
        return Settings()

    def new_sid(self) -> str:
        """An id for a text, as this carrier makes them."""
        return str(uuid.uuid4())

    @abstractmethod
    def start_numbers(self) -> Iterable[Number]: ...

    @abstractmethod
    def read(self, request: web.BaseRequest, body: bytes) -> Call: ...

    @abstractmethod
    async def answer(self, call: Call) -> web.Response: ...

    @abstractmethod
    def fault_answer(self, call: Call, fault: Fault) -> web.Response:
        """The answer of a fault that has one: kinds status, refuse, html, xml and throttle."""

    @abstractmethod
    def hooks(self) -> list[Hook]: ...

    @abstractmethod
    def hook_for(self, tn: str) -> Hook | None: ...

    @abstractmethod
    def signed(self, hook: Hook, body: bytes, sign: str) -> Post: ...

    @abstractmethod
    def inbound_body(self, inbound: Inbound) -> bytes: ...

    @abstractmethod
    def receipt_body(self, message: Message, word: str, error: str | None) -> bytes: ...

    def receipt_hook(self, message: Message, word: str) -> Hook | None:
        """Who is told this word about the text: the hook of its number, for carriers that have but one for all."""
        return self.hook_for(message.sender)

    def stranger(self, url: str, tn: str | None) -> Hook:
        """A hook for an address that nobody set."""
        return Hook(id="", tn=tn, url=url)

    def copies_of(self, inbound: Inbound) -> list[tuple[Hook, Inbound]]:
        """Which hook is told what. Here: every hook of our numbers once, with all recipients."""
        hooks = {hook.id: hook for hook in map(self.hook_for, inbound.to) if hook is not None}
        return [(hook, inbound) for hook in hooks.values()]

    def one_copy_each(self, inbound: Inbound) -> list[tuple[Hook, Inbound]]:
        """For carriers that know no group: a text of its own, with its own id, for each of our numbers."""
        told: list[tuple[Hook, Inbound]] = []
        for tn in inbound.to:
            hook = self.hook_for(tn)
            if hook is not None:
                told.append((hook, replace(inbound, own=tn, sid=self.new_sid() if told else inbound.sid)))
        return told

    def media_url(self, media: Media, sid: str) -> str:
        """The address where the portal can get a file of an inbound text; the file is there from now on."""
        return f"{self.base_url}/{self.name}/media/{self.media.put(media)}/{media.name}"

    def parts_of(self, media: list[Media]) -> list[Media]:
        """The files as this carrier offers them; a layout part goes along with an MMS."""
        return [LAYOUT, *media] if media else []

    # The front door.

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request on the wire, or do to it what was ordered."""
        exchange = Exchange(request.method, request.path_qs, request.headers)
        self.requests.add(exchange)
        if self.settings.state == "refusing":
            reset_connection(request)
            return web.Response()
        exchange.body = await request.read()
        if self.settings.state == "hanging":
            await self.state_changed.wait()
            close_connection(request)
            return web.Response()
        if self.settings.state == "unavailable":
            response: web.Response | None = web.Response(status=503, text="Service Unavailable")
        else:
            response = await self._work(request, exchange.body)
        if response is None:
            return web.Response()
        exchange.http_status = response.status
        return response

    async def _work(self, request: web.BaseRequest, body: bytes) -> web.Response | None:
        """The answer, None when the connection was ended instead."""
        call = self.read(request, body)
        fault = self.faults.take(call.operation, call.to) if self.faults.rows else None
        response: web.Response | None = None
        if fault is None or fault.after_accept:
            response = await self.answer(call)
        if self.settings.latency_ms:
            await asyncio.sleep(self.settings.latency_ms / 1000)
        for message in call.taken:
            plan = self.plans.of(message.to)
            if plan.mode == "auto" and plan.before_answer:
                await self._run_plan(message, plan, 0)
        if fault is not None:
            response = await self._go_wrong(call, fault)
        elif request.transport is not None and not request.transport.is_closing():
            for message in call.taken:
                message.answered = True
        return response

    async def _go_wrong(self, call: Call, fault: Fault) -> web.Response | None:
        if fault.kind == "timeout":
            await hold(call.request, fault.hold_s)
            return None
        await asyncio.sleep(fault.hold_s)
        if fault.kind == "reset":
            reset_connection(call.request)
            return None
        return self.fault_answer(call, fault)

    def set_credentials(self, given: Mapping[str, str]) -> None:
        """Change those given; a new outbound key counts at once, the old one no longer."""
        self.credentials |= given

    def set_state(self, state: str) -> None:
        """Requests that hang because of the old state are let go, without an answer."""
        self.settings.state = state
        self.state_changed.set()
        self.state_changed = asyncio.Event()

    # Texts it takes.

    async def take(self, call: Call, message: Message) -> None:
        """The text is the carrier's from here on: it is in the list, its media are fetched, its receipts are on order.

        Receipts do not wait for the answer to be read: a client that is gone by then gets them all the same.
        """
        call.taken.append(message)
        self.messages.add(message)
        self.by_sid.setdefault(message.sid, []).append(message)
        files = await asyncio.gather(*map(self.courier.fetch, message.media_urls))
        message.fetched = [row for row, _ in files]
        plan = self.plans.of(message.to)
        if plan.mode == "none" and plan.sequence:
            message.status = plan.sequence[-1]
        elif plan.mode == "auto" and not plan.before_answer:
            self.courier.spawn(self._run_plan(message, plan, self.settings.latency_ms / 1000))
        if self.world.echo:
            self.courier.spawn(self._echo(message, [media for _, media in files if media is not None]))

    async def _run_plan(self, message: Message, plan: Plan, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        for word in plan.words:
            await asyncio.sleep(plan.delay_s)
            await self.send_receipt(message, word, copies=plan.copies)

    async def _echo(self, message: Message, files: list[Media]) -> None:
        await asyncio.sleep(self.world.echo_delay_s)
        await self.send_inbound(self.make_inbound(message.to, [message.sender], message.text, files))

    # What it posts to the portal.

    async def send_receipt(
        self, message: Message, word: str, *, error: str | None = None, copies: int = 1, parallel: bool = False
    ) -> list[Delivery]:
        """Tell whoever wants to know; [] when nobody does."""
        message.status, message.error = word, error
        hook = self.receipt_hook(message, word)
        if hook is None:
            return []
        post = self.signed(hook, self.receipt_body(message, word, error), "right")
        return await self._deliver(post, copies, parallel)

    def make_inbound(
        self, sender: str, to: list[str], words: str, files: list[Media], sid: str | None = None
    ) -> Inbound:
        """A text on its way in, its files on the shelf."""
        sid = sid or self.new_sid()
        parts = self.parts_of(files)
        urls, types = [self.media_url(part, sid) for part in parts], [part.content_type for part in parts]
        return Inbound(sid, sender, to, words, urls, types)

    async def send_inbound(
        self, inbound: Inbound, *, url: str | None = None, sign: str = "right", copies: int = 1, parallel: bool = False
    ) -> list[Delivery]:
        """Deliver to the hooks of our numbers in `to`, [] when none has one: the text is dropped. Or to `url`."""
        for tn in inbound.to:
            self.received.add(
                Message(
                    inbound.sid,
                    inbound.sender,
                    tn,
                    inbound.text,
                    inbound.media_urls,
                    answered=True,
                    status="received",
                    direction="inbound",
                )
            )
        told = self.copies_of(inbound) if url is None else [(self.hook_at(url, inbound.to[0]), inbound)]
        done = await asyncio.gather(
            *(
                self.deliver_inbound(hook, self.signed(hook, self.inbound_body(each), sign), copies, parallel)
                for hook, each in told
            )
        )
        return [delivery for deliveries in done for delivery in deliveries]

    async def deliver_inbound(self, hook: Hook, post: Post, copies: int, parallel: bool) -> list[Delivery]:
        return await self._deliver(post, copies, parallel)

    async def send_raw(
        self,
        url: str,
        tn: str | None,
        body: bytes,
        headers: Mapping[str, str],
        *,
        sign: str,
        copies: int,
        parallel: bool,
    ) -> list[Delivery]:
        """Deliver any body to any address, signed as it should be; `headers` win over those of the signature."""
        post = self.signed(self.hook_at(url, tn), body, sign)
        return await self._deliver(Post(url, {**post.headers, **headers}, body), copies, parallel)

    def hook_at(self, url: str, tn: str | None) -> Hook:
        """The hook with that address, else the one of `tn` with this address, else one as for a stranger."""
        known = next((row for row in self.hooks() if row.url == url), None) or (self.hook_for(tn) if tn else None)
        return replace(known, url=url) if known else self.stranger(url, tn)

    async def _deliver(self, post: Post, copies: int, parallel: bool) -> list[Delivery]:
        return await self.courier.deliver(
            post, self.deliveries, copies=copies, parallel=parallel, retries=self.settings.retries
        )

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self.settings), "credentials": self.credentials}
