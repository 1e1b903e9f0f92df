"""What every simulated carrier has: a front door that can be broken, numbers, texts taken, receipts and inbound texts.

A carrier of its own is a subclass that knows one wire contract.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from aiohttp import web

from sandbox.delivery import Courier, Delivery, Post
from sandbox.faults import Fault, Faults, close_connection, hold, reset_connection
from sandbox.receipts import Plan, Plans
from sandbox.store import Exchange, Hook, Journal, Message, Number, World

STATES = ("up", "refusing", "unavailable", "hanging")


@dataclass
class Settings:
    """How the carrier behaves. `tn_digits`: how it lists the numbers of hooks. `retries`: of its own deliveries."""

    state: str = "up"
    latency_ms: float = 0
    errors: str = "http"
    token: str = "sha256"  # noqa: S105 - the name of a scheme
    numbers_as: str = "string"
    tn_digits: int = 11
    retries: int = 0


@dataclass(slots=True)
class Call:
    """One request to the carrier as its wire contract reads it. `taken` fills when texts are taken."""

    request: web.BaseRequest
    host: str
    name: str
    operation: str
    data: dict[str, Any]
    to: list[str] = field(default_factory=list)
    taken: list[Message] = field(default_factory=list)


@dataclass(frozen=True)
class Inbound:
    """A text on its way to one of the carrier's numbers."""

    sid: str
    sender: str
    to: list[str]
    text: str
    media_urls: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Media:
    """A file that came with an inbound text, offered to the portal."""

    name: str
    content_type: str
    content: bytes


class Carrier(ABC):
    """One simulated carrier with one account; everything but the wire contract."""

    name: ClassVar[str]
    port_offset: ClassVar[int]
    start_credentials: ClassVar[Mapping[str, str]]

    def __init__(self, world: World, courier: Courier, base_url: str) -> None:
        self.world = world
        self.courier = courier
        self.base_url = base_url
        self.state_changed = asyncio.Event()
        self.clear()

    def clear(self) -> None:
        """Everything as at the start; subclasses clear what is theirs."""
        self.settings = Settings()
        self.credentials: dict[str, str] = dict(self.start_credentials)
        self.numbers: dict[str, Number] = {number.tn: number for number in self.start_numbers()}
        self.faults = Faults()
        self.plans = Plans()
        self.requests: Journal[Exchange] = Journal()
        self.deliveries: Journal[Delivery] = Journal()
        self.messages: Journal[Message] = Journal(keep=None)
        self.by_sid: dict[str, list[Message]] = {}
        self.media: dict[str, Media] = {}

    # What a wire contract has to say.

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
        if message.media_urls:
            message.fetched = list(await asyncio.gather(*map(self.courier.fetch, message.media_urls)))
        plan = self.plans.of(message.to)
        if plan.mode == "none" and plan.sequence:
            message.status = plan.sequence[-1]
        elif plan.mode == "auto" and not plan.before_answer:
            self.courier.spawn(self._run_plan(message, plan, self.settings.latency_ms / 1000))
        if self.world.echo:
            self.courier.spawn(self._echo(message))

    async def _run_plan(self, message: Message, plan: Plan, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        for word in plan.words:
            await asyncio.sleep(plan.delay_s)
            await self.send_receipt(message, word, copies=plan.copies)

    async def _echo(self, message: Message) -> None:
        await asyncio.sleep(self.world.echo_delay_s)
        reply = Inbound(new_sid(), message.to, [message.sender], message.text, message.media_urls)
        await self.send_inbound(reply)

    # What it posts to the portal.

    async def send_receipt(
        self, message: Message, word: str, *, error: str | None = None, copies: int = 1, parallel: bool = False
    ) -> list[Delivery]:
        """Tell the hook of the sending number; without a hook nobody is told."""
        message.status = word
        hook = self.hook_for(message.sender)
        if hook is None:
            return []
        post = self.signed(hook, self.receipt_body(message, word, error), "right")
        return await self._deliver(post, copies, parallel)

    async def send_inbound(
        self, inbound: Inbound, *, sign: str = "right", copies: int = 1, parallel: bool = False
    ) -> list[Delivery]:
        """Deliver to the hook of each of our numbers in `to`; [] when none has one: the text is dropped."""
        hooks = {hook.id: hook for hook in map(self.hook_for, inbound.to) if hook is not None}
        body = self.inbound_body(inbound)
        posts = [self.signed(hook, body, sign) for hook in hooks.values()]
        done = await asyncio.gather(*(self._deliver(post, copies, parallel) for post in posts))
        return [delivery for deliveries in done for delivery in deliveries]

    async def send_to(
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
        """Deliver any body to any address; `headers` win over those of the signature.

        It is signed as the hook with that address, else as the hook of `tn`, else with `credentials.inbound_api_key`.
        """
        known = next((row for row in self.hooks() if row.url == url), None) or (self.hook_for(tn) if tn else None)
        stranger = Hook(id="", tn=tn, url=url, api_key=self.credentials.get("inbound_api_key"))
        post = self.signed(replace(known, url=url) if known else stranger, body, sign)
        return await self._deliver(Post(url, {**post.headers, **headers}, body), copies, parallel)

    async def _deliver(self, post: Post, copies: int, parallel: bool) -> list[Delivery]:
        return await self.courier.deliver(
            post, self.deliveries, copies=copies, parallel=parallel, retries=self.settings.retries
        )

    def offer(self, media: Media) -> str:
        """The address where the portal can get an inbound file."""
        token = uuid.uuid4().hex
        self.media[token] = media
        return f"{self.base_url}/{self.name}/media/{token}/{media.name}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self.settings), "credentials": self.credentials}


def new_sid() -> str:
    return str(uuid.uuid4())
