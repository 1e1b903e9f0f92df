"""UC-One, and any other XMPP client there is: independent clients that share no code with ours.

`UcOne` is built on slixmpp and keeps every stanza it hears. `listening` and `send_with` run other client programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from slixmpp import ClientXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from tests.ejabberd import Ejabberd
from tests.prosody import Prosody
from tests.sandbox_process import wait_for
from tests.xmpp_stanzas import CLIENT, Heard

Server = Prosody | Ejabberd
PLUGINS = ("xep_0030", "xep_0085", "xep_0184", "xep_0199", "xep_0203", "xep_0280", "xep_0313", "xep_0359")
SCRAM = {"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}
# How long a condition is waited for. It says nothing about how long it should take.
PATIENCE_S = 30


class UcOne:
    """A client of one account in a loop of its own thread. Every method may be called from the test's thread.

    It subscribes to nobody and accepts nobody by itself. With `receipts` it confirms what asks for it, as UC-One does.
    `resume` gives it stream management: the server then keeps its session for a while when the connection breaks.
    """

    def __init__(
        self,
        server: Server,
        jid: str,
        password: str,
        *,
        resource: str = "uc-one",
        receipts: bool = True,
        resume: bool = False,
    ) -> None:
        self.server, self.jid, self._password, self._resource = server, jid, password, resource
        self._plugins = (*PLUGINS, "xep_0198") if resume else PLUGINS
        self._receipts = receipts
        self.heard: list[Heard] = []
        self.failures: list[str] = []
        self.online = False
        self._client: ClientXMPP | None = None

    # Connection

    def connect(self) -> UcOne:
        """Log in, enable carbons, be available. It does not log in again by itself."""
        self._run(self._connect())
        wait_for(lambda: self.online or self.failures, PATIENCE_S, f"{self.jid} to be online")
        assert self.online, self.failures
        return self

    async def _connect(self) -> None:
        client = ClientXMPP(f"{self.jid}/{self._resource}", self._password, ssl_context=self._context)
        for plugin in self._plugins:
            client.register_plugin(plugin, {"auto_ack": self._receipts} if plugin == "xep_0184" else None)
        # slixmpp would go on to PLAIN by itself.
        client.plugin["feature_mechanisms"].use_mechs = SCRAM
        client.auto_authorize, client.auto_subscribe = None, False
        client.enable_direct_tls = False
        for kind in ("message", "presence"):
            client.register_handler(Callback(f"Heard {kind}", MatchXPath(CLIENT + kind), self._hear))
        client.add_event_handler("session_start", self._begin)
        client.add_event_handler("failed_all_auth", lambda _: self.failures.append("authentication failed"))
        client.add_event_handler("disconnected", self._end)
        self._client, self.failures = client, []
        client.connect(self.server.host, self.server.port)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.server.authority.pem)

    async def _begin(self, _: object) -> None:
        await self.client.plugin["xep_0280"].enable()
        await self.client.get_roster()
        self.client.send_presence()
        self.online = True

    def _end(self, _: object) -> None:
        self.online = False
        # Else asyncio complains of the pending task when the client is forgotten.
        if self.client._run_out_filters is not None:
            self.client._run_out_filters.cancel()

    def _hear(self, stanza: Any) -> None:
        # slixmpp empties the element once it is handled.
        self.heard.append(Heard(ET.fromstring(ET.tostring(stanza.xml))))

    def disconnect(self) -> None:
        """Log out in order."""
        if self._client is not None:
            self._run(_awaited(self._client.disconnect()))

    def abort(self) -> None:
        """Break the connection off, as a phone that loses its network."""
        self._run(_called(self.client.abort))
        wait_for(lambda: not self.online)

    @property
    def client(self) -> ClientXMPP:
        assert self._client is not None, "not connected"
        return self._client

    # What it sends

    def send(self, to: str, text: str, *, id: str | None = None, receipt: bool = True, type: str = "chat") -> str:
        """Send a text; returns the id of the stanza."""
        message = self.client.make_message(mto=to, mbody=text, mtype=type)
        message["id"] = id or uuid.uuid4().hex
        if receipt:
            message["request_receipt"] = True
        self._run(_called(message.send))
        return str(message["id"])

    def send_raw(self, xml: str) -> None:
        """Anything, as it is."""
        self._run(_called(lambda: self.client.send_raw(xml)))

    def chat_state(self, to: str, state: str) -> None:
        message = self.client.make_message(mto=to, mtype="chat")
        message["chat_state"] = state
        self._run(_called(message.send))

    def presence(self, show: str | None = None, status: str | None = None, **more: Any) -> None:
        """`show`: None (available), away, xa, dnd, chat; `status`: the typed text. `to=`, `type=` as of the stanza."""
        arguments = {f"p{name}": value for name, value in more.items()}
        self._run(_called(lambda: self.client.send_presence(pshow=show, pstatus=status, **arguments)))

    def subscribe(self, jid: str) -> None:
        self.presence(to=jid, type="subscribe")

    def accept(self, jid: str) -> None:
        self.presence(to=jid, type="subscribed")

    def decline(self, jid: str) -> None:
        """Refuse a request, or take back what was accepted."""
        self.presence(to=jid, type="unsubscribed")

    def unsubscribe(self, jid: str) -> None:
        self.presence(to=jid, type="unsubscribe")

    # What it heard

    @property
    def messages(self) -> list[Heard]:
        """Texts to this account, without errors and copies of what its other clients sent or received."""
        return [each for each in self.heard if each.body is not None and each.type != "error"]

    @property
    def errors(self) -> list[Heard]:
        return [each for each in self.heard if each.kind == "message" and each.type == "error"]

    @property
    def carbons(self) -> list[Heard]:
        return [carbon for carbon in (each.carbon for each in self.heard) if carbon is not None]

    @property
    def receipts(self) -> list[str]:
        """The ids of messages that are said to be delivered."""
        return [each.receipt_for for each in self.heard if each.receipt_for is not None]

    def texts_from(self, bare: str) -> list[str]:
        return [each.body or "" for each in self.messages if each.bare == bare]

    def presences_of(self, bare: str) -> list[Heard]:
        return [each for each in self.heard if each.kind == "presence" and each.bare == bare]

    def wait(self, condition: Callable[[], Any], what: str = "") -> Any:
        """The first true value of `condition`."""
        return wait_for(condition, PATIENCE_S, f"{self.jid}: {what}\nheard: {self.heard[-5:]}")

    def wait_text(self, text: str) -> Heard:
        """The first message with that text."""
        found = lambda: next((each for each in self.messages if each.body == text), None)  # noqa: E731
        heard: Heard = self.wait(found, f"text {text[:60]!r}")
        return heard

    def wait_error(self, id: str) -> Heard:
        """The answer that a message of ours could not be taken."""
        found = lambda: next((each for each in self.errors if each.id == id), None)  # noqa: E731
        heard: Heard = self.wait(found, f"error for {id}")
        return heard

    def wait_receipt(self, id: str) -> None:
        self.wait(lambda: id in self.receipts, f"receipt for {id}")

    def wait_presence(self, bare: str, *, type: str = "", show: str | None = None, status: str | None = None) -> Heard:
        """The newest presence of a JID, once it is this."""

        def found() -> Heard | None:
            newest = self.presences_of(bare)[-1:]
            wanted = (type, show, status)
            return next((e for e in newest if (e.type, e.text_of("show"), e.text_of("status")) == wanted), None)

        heard: Heard = self.wait(found, f"presence of {bare}")
        return heard

    def roster(self) -> dict[str, str]:
        """Subscription (none, to, from, both) by JID, as the server has it now."""

        async def fetch() -> dict[str, str]:
            # Not `get_roster`: it asks for what is new since the last time.
            query = self.client.make_iq_get("jabber:iq:roster")
            query.enable("roster")
            items = (await query.send())["roster"]["items"]
            return {str(jid): item["subscription"] for jid, item in items.items()}

        found: dict[str, str] = self._run(fetch())
        return found

    def history(self) -> list[Heard]:
        """The server's archive of the account, oldest first."""

        async def fetch() -> list[Heard]:
            answer = await self.client.plugin["xep_0313"].retrieve(rsm={"max": 200})
            return [Heard(each.xml.find(f".//{CLIENT}message")) for each in answer["mam"]["results"]]

        found: list[Heard] = self._run(fetch())
        return found

    def sync(self) -> None:
        """Return when the server has handled all that was sent before, and all it had sent has been heard."""
        self._run(_awaited(self.client.plugin["xep_0199"].send_ping(self.server.domain)))

    def ask_features(self, jid: str) -> set[str]:
        """What an entity says it can do (XEP-0030)."""
        info = self._run(_awaited(self.client.plugin["xep_0030"].get_info(jid=jid)))
        return set(info["disco_info"]["features"])

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, _loop()).result(PATIENCE_S)


_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    """The loop of all clients of this process, in its own thread."""
    with _lock:
        if not _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="xmpp peers", daemon=True).start()
            _loops.append(loop)
        return _loops[0]


async def _called(work: Callable[[], Any]) -> None:
    work()


async def _awaited(future: Any) -> Any:
    return await future


# Other programs


def send_with(program: str, server: Server, jid: str, password: str, to: str, text: str) -> None:
    """Send a text with `go-sendxmpp` or `sendxmpp`, programs of Debian."""
    command = [*_COMMANDS[program](server, jid, password), to]
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, timeout=PATIENCE_S, env=_environment(server), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def listening(server: Server, jid: str, password: str) -> Iterator[Callable[[], str]]:
    """go-sendxmpp, online for an account; the value gives all it has printed, a line for each text."""
    output = server.folder / f"listening-{uuid.uuid4().hex}"
    logins = lambda: server.log.count(f"Authenticated as {jid}")  # noqa: E731
    before = logins()
    with open(output, "wb") as file:
        command = [*_go_sendxmpp(server, jid, password), "--listen"]
        program = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=_environment(server)
        )
    try:
        wait_for(lambda: logins() > before, what=f"go-sendxmpp\n{output.read_text()}")
        yield lambda: output.read_text(errors="replace")
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()


def _go_sendxmpp(server: Server, jid: str, password: str) -> list[str]:
    return ["go-sendxmpp", "--username", jid, "--password", password, "--jserver", f"{server.host}:{server.port}"]


def _sendxmpp(server: Server, jid: str, password: str) -> list[str]:
    user, domain = jid.split("@")
    address = ["--jserver", f"{server.host}:{server.port}", "--component", domain]
    trust = ["--tls", "--tls-ca-path", str(server.ca_file)]
    return ["sendxmpp", "--username", user, "--password", password, *address, *trust]


_COMMANDS = {"go-sendxmpp": _go_sendxmpp, "sendxmpp": _sendxmpp}


def _environment(server: Server) -> dict[str, str]:
    """Nothing of the user's own configuration; Go's programs trust what is named here."""
    home = Path(server.folder) / "home"
    home.mkdir(exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": str(home), "SSL_CERT_FILE": str(server.ca_file), "LANG": "C.UTF-8"}
