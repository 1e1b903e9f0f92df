"""The simulated BroadWorks: one administrator, some users, two doors to OCI-P and one to Xsi."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.answers import HTML_PAGE
from sandbox.broadworks.commands import COMMANDS
from sandbox.broadworks.users import User, mirror_account
from sandbox.broadworks.wire import OciError, Request, Response, error_response, read_request, write_response
from sandbox.faults import Fault, Faults
from sandbox.store import Exchange, Journal

KINDS = ("error_response", "drop")
START_CREDENTIALS = {"username": "sandbox-admin", "password": "sandbox-admin-password"}
START_DOMAIN = "im.sandbox.example"
_GARBLED = b"<BroadsoftDocument><command></BroadsoftDocument>\n"


@dataclass
class Session:
    """A connection or a cookie: the nonce that was given out, and whether the login came back right."""

    nonce: str = ""
    logged_in: bool = False


@dataclass(frozen=True)
class Reply:
    """What happens to a request: bytes go back, or the connection ends (`close`, or `reset` by a TCP RST).

    `http_status` is answered instead where there is HTTP.
    """

    document: bytes = b""
    end: str = ""
    http_status: int | None = None


@dataclass
class Settings:
    """`xmpp_accounts`: the data folder of a Prosody that knows the passwords of the messaging accounts."""

    state: str = "up"
    latency_ms: float = 0
    xmpp_accounts: str | None = None
    imp_domain: str = START_DOMAIN


@dataclass
class Broadworks:
    """Everything but the doors themselves."""

    name = "broadworks"
    settings: Settings = field(default_factory=Settings)
    credentials: dict[str, str] = field(default_factory=lambda: dict(START_CREDENTIALS))
    users: dict[str, User] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    requests: Journal[Exchange] = field(default_factory=Journal)
    state_changed: asyncio.Event = field(default_factory=asyncio.Event)

    def clear(self) -> None:
        """Everything as at the start."""
        self.settings, self.credentials = Settings(), dict(START_CREDENTIALS)
        self.users, self.faults, self.requests = {}, Faults(), Journal()

    @property
    def imp_domain(self) -> str:
        return self.settings.imp_domain

    def set_state(self, state: str) -> None:
        """Requests that hang because of the old state are let go, without an answer."""
        self.settings.state = state
        self.state_changed.set()
        self.state_changed = asyncio.Event()

    def set_imp_password(self, user: User, password: str) -> None:
        user.imp_password = password
        user.imp_password_set_count += 1
        self.mirror(user)

    def mirror(self, user: User) -> None:
        """Tell the messaging server, when there is one and it would know."""
        jid = user.imp_id(self.imp_domain)
        if self.settings.xmpp_accounts and jid and user.imp_password:
            mirror_account(self.settings.xmpp_accounts, jid, user.imp_password)

    def mirror_all(self) -> None:
        for user in self.users.values():
            self.mirror(user)

    async def answer(self, session: Session, document: bytes, headers: Mapping[str, str]) -> Reply:
        """Carry a document out and answer it, or do to it what was ordered."""
        if self.settings.state == "hanging":
            await self.state_changed.wait()
            return Reply(end="close")
        try:
            request = read_request(document)
        except ValueError as error:
            return Reply(write_response("", error_response(OciError("4000", str(error)))))
        self.requests.add(Exchange("OCI", request.name, headers, document))
        fault = self.faults.take(request.name, [request.user_id])
        response = Response() if fault and not fault.after_accept else self._carry_out(session, request)
        if self.settings.latency_ms:
            await asyncio.sleep(self.settings.latency_ms / 1000)
        if fault is not None:
            return await _go_wrong(request, fault)
        return Reply(write_response(request.session_id, response))

    def _carry_out(self, session: Session, request: Request) -> Response:
        try:
            if request.name == "AuthenticationRequest":
                session.nonce = secrets.token_hex(8)
                fields = {"userId": request.user_id, "nonce": session.nonce, "passwordAlgorithm": "MD5"}
                return Response("AuthenticationResponse", fields)
            if request.name == "LoginRequest14sp4":
                return self._log_in(session, request)
            if not session.logged_in:
                raise OciError("5031", "You are not logged in.")
            command = COMMANDS.get(request.name)
            if command is None:
                raise OciError("4010", f"Unknown command: {request.name}")
            return command(self, request)
        except OciError as error:
            return error_response(error)

    def _log_in(self, session: Session, request: Request) -> Response:
        inner = hashlib.sha1(self.credentials["password"].encode()).hexdigest()  # noqa: S324 - BroadWorks' own scheme
        right = hashlib.md5(f"{session.nonce}:{inner}".encode()).hexdigest()  # noqa: S324
        nonce, session.nonce = session.nonce, ""
        signed = request.fields.get("signedPassword", "")
        if not nonce or request.user_id != self.credentials["username"] or signed != right:
            raise OciError("5004", "Invalid user id or password.")
        session.logged_in = True
        return Response("LoginResponse14sp4", {"loginType": "System", "locale": "en_US", "encoding": "ISO-8859-1"})

    def as_json(self) -> dict[str, Any]:
        return {**vars(self.settings), "credentials": self.credentials}


async def _go_wrong(request: Request, fault: Fault) -> Reply:
    await asyncio.sleep(fault.hold_s)
    if fault.kind in ("timeout", "drop"):
        return Reply(end="close")
    if fault.kind == "reset":
        return Reply(end="reset")
    if fault.kind == "html":
        return Reply(HTML_PAGE.encode())
    if fault.kind == "xml":
        return Reply(_GARBLED)
    error = OciError(fault.code or "4000", fault.text or "The sandbox was told to refuse this.")
    status = (fault.status or 500) if fault.kind == "status" else None
    return Reply(write_response(request.session_id, error_response(error)), http_status=status)
