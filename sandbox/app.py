"""The sandbox as a whole: its simulators, their ports, and what concerns all of them."""

from __future__ import annotations

from dataclasses import asdict, replace

from aiohttp import web

from sandbox import control
from sandbox.bandwidth import Bandwidth
from sandbox.broadworks import Broadworks
from sandbox.broadworks import control as broadworks_control
from sandbox.broadworks.doors import HttpDoor, OciConnections
from sandbox.carrier import Carrier
from sandbox.control_base import NO_CONTENT, SANDBOX, Refusal, after, answer, json_errors, read_body, rows, sandbox_of
from sandbox.delivery import Courier
from sandbox.fields import amount, flag, read_fields, text, word
from sandbox.inteliquent import Inteliquent
from sandbox.mail import STATES as MAIL_STATES
from sandbox.mail import MailSink
from sandbox.ports import HOST, Port
from sandbox.restcomm import Restcomm
from sandbox.store import World
from sandbox.twilio import Twilio

CARRIERS: tuple[type[Carrier], ...] = (Inteliquent, Restcomm, Twilio, Bandwidth)
BROADWORKS_PORT_OFFSET = 5
OCI_PORT_OFFSET = 8
MAIL_PORT_OFFSET = 25
LAST_PORT = 65_535
# Requests that are held on purpose are not waited for.
STOP_WITHIN_S = 0.5
MAX_BODY_BYTES = 64 * 1024 * 1024
WORLD = {"echo": flag(), "echo_delay_s": amount(), "portal_url": text()}


class Sandbox:
    """Everything on `port` and the ports above it: P the whole and `/_control/`, P+n each party alone, P+8 OCI-P,
    P+25 mail."""

    def __init__(self, port: int, world: World | None = None) -> None:
        self.port = port
        self.world = world or World()
        self._start_world = replace(self.world)
        self.courier = Courier(self.world)
        self.mail = MailSink(port + MAIL_PORT_OFFSET)
        self.carriers: dict[str, Carrier] = {
            kind.name: kind(self.world, self.courier, f"http://{HOST}:{port + kind.port_offset}", self.url)
            for kind in CARRIERS
        }
        self.broadworks = Broadworks()
        self._broadworks_http = HttpDoor(self.broadworks)
        self._ports: dict[str, Port] = {}
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=STOP_WITHIN_S)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Open all ports. Raises OSError when one is taken; what was opened is closed again."""
        await self._runner.setup()
        assert self._runner.server is not None
        for carrier in self.carriers.values():
            server = web.Server(carrier.serve, access_log=None)
            self._ports[carrier.name] = _http_port(self.port + carrier.port_offset, server)
        broadworks = web.Server(self._broadworks_http.serve, access_log=None)
        self._ports["broadworks"] = _http_port(self.port + BROADWORKS_PORT_OFFSET, broadworks)
        oci = OciConnections(self.broadworks)
        self._ports["oci"] = Port(self.port + OCI_PORT_OFFSET, oci.protocol, lambda: oci.open)
        # The control port last: who can reach it can reach everything.
        everything = _http_port(self.port, self._runner.server)
        try:
            await self.mail.port.open()
            for port in self._ports.values():
                await port.open()
            await everything.open()
        except OSError:
            await self.stop()
            raise
        self._ports["_control"] = everything

    async def stop(self) -> None:
        for port in [self.mail.port, *self._ports.values()]:
            await port.close()
        for carrier in self.carriers.values():
            carrier.set_state(carrier.settings.state)
        self.broadworks.set_state(self.broadworks.settings.state)
        await self.courier.close()
        await self._runner.cleanup()

    async def reset(self) -> None:
        """Accounts, numbers, hooks, faults, logs, mail and settings as at the start; nothing is still on its way."""
        await self.courier.drop_tasks()
        for carrier in self.carriers.values():
            await self.set_carrier_state(carrier, "up")
            carrier.clear()
        await self.set_broadworks_state("up")
        self.broadworks.clear()
        self._broadworks_http.sessions.clear()
        await self.mail.reset()
        for name, value in asdict(self._start_world).items():
            setattr(self.world, name, value)

    async def set_carrier_state(self, carrier: Carrier, state: str) -> None:
        """Refusing closes the carrier's own port, with the connections that are open on it."""
        port = self._ports[carrier.name]
        if state == "refusing":
            await port.close()
        else:
            await _open(port)
        carrier.set_state(state)

    async def set_broadworks_state(self, state: str) -> None:
        """Refusing closes both doors of BroadWorks."""
        for name in ("broadworks", "oci"):
            if state == "refusing":
                await self._ports[name].close()
            else:
                await _open(self._ports[name])
        self.broadworks.set_state(state)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[json_errors], client_max_size=MAX_BODY_BYTES)
        application[SANDBOX] = self
        router = application.router
        router.add_get("/_control/", show)
        router.add_patch("/_control/", change)
        router.add_post("/_control/reset/", reset)
        router.add_get("/_control/mail/", list_mails)
        router.add_put("/_control/mail/", change_mail)
        router.add_delete("/_control/mail/", delete_mails)
        broadworks_control.add_routes(router)
        control.add_routes(router)
        for carrier in self.carriers.values():
            router.add_route("*", f"/{carrier.name}/{{tail:.*}}", carrier.serve)
        router.add_route("*", "/broadworks/{tail:.*}", self._broadworks_http.serve)
        return application


def _http_port(number: int, server: web.Server) -> Port:
    return Port(number, server, lambda: server.connections)


async def _open(port: Port) -> None:
    try:
        await port.open()
    except OSError:
        raise Refusal(409, "port_taken", f"Port {port.number} is in use by another program.") from None


async def show(request: web.Request) -> web.Response:
    return answer(asdict(sandbox_of(request).world))


async def change(request: web.Request) -> web.Response:
    world = sandbox_of(request).world
    for name, value in read_fields(await read_body(request), WORLD, partial=True).items():
        setattr(world, name, value)
    return answer(asdict(world))


async def reset(request: web.Request) -> web.Response:
    read_fields(await read_body(request), {})
    await sandbox_of(request).reset()
    return web.Response(status=NO_CONTENT)


async def list_mails(request: web.Request) -> web.Response:
    """`to` is a whole address, `subject` a part of it; both without regard to case."""
    to, subject = request.query.get("to", "").lower(), request.query.get("subject", "").lower()
    found = [
        (n, mail)
        for n, mail in sandbox_of(request).mail.mails.after(after(request))
        if (not to or to in map(str.lower, mail.to)) and subject in mail.subject.lower()
    ]
    return answer({"state": sandbox_of(request).mail.state, "results": rows(found)})


async def change_mail(request: web.Request) -> web.Response:
    given = read_fields(await read_body(request), {"state": word(*MAIL_STATES)})
    sink = sandbox_of(request).mail
    try:
        await sink.set_state(given["state"])
    except OSError:
        raise Refusal(409, "port_taken", f"Port {sink.port.number} is in use by another program.") from None
    return answer({"state": sink.state})


async def delete_mails(request: web.Request) -> web.Response:
    sandbox_of(request).mail.mails.clear()
    return web.Response(status=NO_CONTENT)
