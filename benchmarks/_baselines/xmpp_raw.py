"""What an XMPP server passes on at most: bare sockets that parse nothing and count the ends of messages.

    python -m benchmarks._baselines.xmpp_raw clients PORT DOMAIN CA_FILE MESSAGES JID PASSWORD JID PASSWORD ...
    python -m benchmarks._baselines.xmpp_raw component PORT DOMAIN SECRET MESSAGES IN_FLIGHT

Clients stand in a circle, TLS as in real life; whoever receives a message sends the next one to its neighbour, with
`no-store`, so that the archive is not measured. The component writes to itself. Prints JSON: messages, seconds, cpu_s.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import resource
import ssl
import sys
import time
from typing import Any

import uvloop

IN_FLIGHT = 10  # each client's
END = b"</message>"


class Counter:
    """Counts what arrives, tells when all did."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen = wanted, 0
        self.done = asyncio.Event()

    def add(self, count: int) -> None:
        self.seen += count
        if self.seen >= self.wanted:
            self.done.set()


class Passer(asyncio.Protocol):
    """After login: each message that comes is counted and answered with the next one."""

    def __init__(self, transport: asyncio.WriteTransport, counter: Counter, stanza: str) -> None:
        self._transport, self._counter, self._stanza, self._rest = transport, counter, stanza.encode(), b""
        transport.set_protocol(self)

    def begin(self, in_flight: int = IN_FLIGHT) -> None:
        self._transport.write(self._stanza * in_flight)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        count = data.count(END)
        # The end of a message may be cut in two.
        self._rest = data[-len(END) + 1 :].rpartition(b">")[2]
        if count:
            self._counter.add(count)
            if not self._counter.done.is_set():
                self._transport.write(self._stanza * count)


def _head(domain: str, namespace: str) -> bytes:
    streams = "http://etherx.jabber.org/streams"
    return f"<stream:stream to='{domain}' xmlns='{namespace}' xmlns:stream='{streams}' version='1.0'>".encode()


async def _read(reader: asyncio.StreamReader, end: bytes) -> bytes:
    try:
        return await reader.readuntil(end)
    except asyncio.IncompleteReadError as error:
        sys.exit(f"The server ended the connection: {error.partial!r}")


async def log_in(port: int, domain: str, context: ssl.SSLContext, jid: str, password: str) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_head(domain, "jabber:client"))
    await _read(reader, b"</stream:features>")
    writer.write(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    await _read(reader, b"proceed")
    await _read(reader, b">")
    await writer.start_tls(context, server_hostname=domain)
    writer.write(_head(domain, "jabber:client"))
    await _read(reader, b"</stream:features>")
    secret = base64.b64encode(f"\0{jid.partition('@')[0]}\0{password}".encode()).decode()
    writer.write(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>".encode())
    await _read(reader, b"<success")
    writer.write(_head(domain, "jabber:client"))
    await _read(reader, b"</stream:features>")
    bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>raw</resource></bind>"
    writer.write(f"<iq type='set' id='b'>{bind}</iq><presence/>".encode())
    await _read(reader, b"</iq>")
    await _read(reader, b"<presence")
    return writer


async def clients(
    port: int, domain: str, ca_file: str, messages: int, accounts: list[tuple[str, str]]
) -> dict[str, Any]:
    """All of them in this process and loop."""
    context = ssl.create_default_context(cafile=ca_file)
    counter = Counter(messages)
    writers = [await log_in(port, domain, context, *account) for account in accounts]
    passers = []
    for writer, (to, _) in zip(writers, accounts[1:] + accounts[:1], strict=True):
        stanza = f"<message to='{to}/raw' type='chat' id='m'><body>Hello there</body>"
        stanza += "<no-store xmlns='urn:xmpp:hints'/></message>"
        passers.append(Passer(writer.transport, counter, stanza))
    return await _measured(counter, passers)


async def open_component(port: int, domain: str, secret: str) -> asyncio.StreamWriter:
    """A component that is online (XEP-0114)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_head(domain, "jabber:component:accept"))
    head = (await reader.readuntil(b">")) + await reader.readuntil(b">")
    found = re.search(rb"""\sid=["']([^"']+)""", head)
    assert found, head
    digest = hashlib.sha1(found[1] + secret.encode()).hexdigest()
    writer.write(f"<handshake>{digest}</handshake>".encode())
    await reader.readuntil(b"<handshake")
    await reader.readuntil(b">")
    return writer


async def component(port: int, domain: str, secret: str, messages: int, in_flight: int) -> dict[str, Any]:
    """One component that writes to itself."""
    writer = await open_component(port, domain, secret)
    stanza = f"<message to='b@{domain}' from='a@{domain}' type='chat' id='m'><body>Hello there</body></message>"
    counter = Counter(messages)
    return await _measured(counter, [Passer(writer.transport, counter, stanza)], in_flight=in_flight)


async def _measured(counter: Counter, passers: list[Passer], in_flight: int = IN_FLIGHT) -> dict[str, Any]:
    begin, cpu = time.monotonic(), _cpu()
    for passer in passers:
        passer.begin(in_flight)
    await asyncio.wait_for(counter.done.wait(), 300)
    return {"messages": counter.seen, "seconds": time.monotonic() - begin, "cpu_s": _cpu() - cpu}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(arguments: list[str]) -> None:
    kind, port, domain, secret, messages, *rest = arguments
    if kind == "component":
        result = uvloop.run(component(int(port), domain, secret, int(messages), int(rest[0])))
    else:
        accounts = list(zip(rest[::2], rest[1::2], strict=True))
        result = uvloop.run(clients(int(port), domain, secret, int(messages), accounts))
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
