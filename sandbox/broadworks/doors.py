"""How clients come in: OCI-P over TCP, OCI-P as SOAP with a session cookie, and Xsi."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
import weakref
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from sandbox.basic import basic_header
from sandbox.broadworks.party import Broadworks, Session
from sandbox.broadworks.wire import END, read_envelope, write_envelope
from sandbox.faults import close_connection, reset_connection
from sandbox.store import Exchange

SERVICE = "/webservice/services/ProvisioningService"
XSI = "/com.broadsoft.xsi-actions/v2.0/user/"
COOKIE = "JSESSIONID"
MOST_BYTES = 16 * 1024 * 1024


class OciConnections:
    """The OCI-P port: `protocol` makes one for each connection, `open` are those that are."""

    def __init__(self, party: Broadworks) -> None:
        self.party = party
        self.open: weakref.WeakSet[_OciProtocol] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()

    def protocol(self) -> asyncio.BaseProtocol:
        made = _OciProtocol(asyncio.StreamReader(limit=MOST_BYTES), self._connected)
        self.open.add(made)
        return made

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session()
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while self.party.settings.state != "unavailable":
                document = await reader.readuntil(END)
                reply = await self.party.answer(session, document.lstrip(), {})
                if reply.end == "reset":
                    _reset(writer)
                if reply.end:
                    break
                writer.write(reply.document)
                await writer.drain()
        writer.close()


class _OciProtocol(asyncio.StreamReaderProtocol):
    """One connection, whose transport the port can close."""

    transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        super().connection_made(transport)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class HttpDoor:
    """The SOAP service and Xsi, below `/broadworks/` or, on the party's own port, without that."""

    def __init__(self, party: Broadworks) -> None:
        self.party = party
        self.sessions: dict[str, Session] = {}

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        state = self.party.settings.state
        if state == "refusing":
            reset_connection(request)
            return web.Response()
        if state == "unavailable":
            return web.Response(status=503, text="Service Unavailable")
        path = request.path.removeprefix("/broadworks")
        if path == SERVICE and request.method == "POST":
            return await self._soap(request, body)
        if path.startswith(XSI) and path.endswith("/profile") and request.method == "GET":
            return self._profile(request, unquote(path.removeprefix(XSI).removesuffix("/profile")))
        return web.Response(status=404, text="Not Found")

    async def _soap(self, request: web.BaseRequest, body: bytes) -> web.Response:
        cookie = request.cookies.get(COOKIE, "")
        if cookie not in self.sessions:
            cookie = secrets.token_hex(16)
            self.sessions[cookie] = Session()
        try:
            document = read_envelope(body)
        except ValueError as error:
            return web.Response(status=500, text=str(error))
        reply = await self.party.answer(self.sessions[cookie], document, request.headers)
        if reply.end:
            (reset_connection if reply.end == "reset" else close_connection)(request)
            return web.Response()
        if reply.http_status is not None:
            return web.Response(status=reply.http_status, text="The sandbox was told to answer so.")
        if not reply.document.rstrip().endswith(END):
            return web.Response(status=502, body=reply.document, content_type="text/html")
        response = web.Response(text=write_envelope(reply.document), content_type="text/xml")
        response.set_cookie(COOKIE, cookie, path="/")
        return response

    def _profile(self, request: web.BaseRequest, login: str) -> web.Response:
        """The Xsi profile, for the user's own or the administrator's password."""
        self.party.requests.add(Exchange(request.method, request.path_qs, request.headers))
        user, admin = self.party.users.get(login), self.party.credentials
        allowed = [basic_header(admin["username"], admin["password"])]
        if user is not None and user.password:
            allowed.append(basic_header(user.login, user.password))
        if request.headers.get("Authorization") not in allowed:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="Xsi"'})
        if user is None:
            return web.Response(status=404, text="User not found")
        details = {
            "userId": user.login,
            "firstName": user.first_name,
            "lastName": user.last_name,
            "groupId": user.group,
            "serviceProvider": user.service_provider,
            "number": user.phone_number,
            "extension": user.extension,
        }
        jid = user.imp_id(self.party.imp_domain)
        imp = f"<IMPProfile><impUserId>{escape(jid)}</impUserId></IMPProfile>" if jid else ""
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Profile xmlns="http://schema.broadsoft.com/xsi"><details>'
            + "".join(f"<{name}>{escape(value)}</{name}>" for name, value in details.items() if value)
            + f"</details><countryCode>{escape(user.country_code)}</countryCode>{imp}</Profile>"
        )
        return web.Response(text=text, content_type="application/xml")
