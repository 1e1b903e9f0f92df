"""Bare slixmpp: two clients in one process that pass messages back and forth, each by one handler and nothing else.

    python -m benchmarks._baselines.xmpp_slixmpp PORT CA_FILE MESSAGES JID PASSWORD JID PASSWORD ...

Prints JSON: messages (received and answered), seconds, cpu_s; a message is one send and one receipt. The accounts after
the first two only log in: login_cpu_s is what each of these takes, with one TLS context for all and with the key
derivation of hashlib (facts/xmpp.md 2a: slixmpp's own takes ten times as long).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import ssl
import sys
import time
from typing import Any

from slixmpp import ClientXMPP
from slixmpp.util.sasl import mechanisms

IN_FLIGHT = 10


class Pair:
    """The two, and how much has arrived."""

    def __init__(self, port: int, ca_file: str, messages: int, accounts: list[tuple[str, str]]) -> None:
        self._port, self._wanted, self._seen = port, messages, 0
        self._context = ssl.create_default_context(cafile=ca_file)
        self._done, self._online = asyncio.Event(), asyncio.Queue[ClientXMPP]()
        self._clients = [self._client(*account) for account in accounts[:2]]
        self._others = accounts[2:]

    def _client(self, jid: str, password: str) -> ClientXMPP:
        client = ClientXMPP(f"{jid}/bare", password, ssl_context=self._context)
        client.enable_direct_tls = False
        client.add_event_handler("session_start", lambda _: self._begin(client))
        client.add_event_handler("message", lambda message: self._answer(client, message))
        return client

    def _begin(self, client: ClientXMPP) -> None:
        client.send_presence()
        self._online.put_nowait(client)

    def _answer(self, client: ClientXMPP, message: Any) -> None:
        self._seen += 1
        if self._seen >= self._wanted:
            self._done.set()
        elif not self._done.is_set():
            self._send(client, message["from"])

    def _send(self, client: ClientXMPP, to: Any) -> None:
        client.make_message(mto=to, mbody="Hello there", mtype="chat").send()

    async def run(self) -> dict[str, Any]:
        for client in self._clients:
            client.connect("127.0.0.1", self._port)
        for _ in self._clients:
            await asyncio.wait_for(self._online.get(), 30)
        begin, cpu = time.monotonic(), _cpu()
        one, other = self._clients
        for sender, to in ((one, other), (other, one)):
            for _ in range(IN_FLIGHT):
                self._send(sender, to.boundjid.full)
        await asyncio.wait_for(self._done.wait(), 300)
        found = {"messages": self._seen, "seconds": time.monotonic() - begin, "cpu_s": _cpu() - cpu}
        return found | ({"login_cpu_s": await self._login_cpu_s()} if self._others else {})

    async def _login_cpu_s(self) -> float:
        cpu = _cpu()
        for account in self._others:
            self._clients.append(self._client(*account))
            self._clients[-1].connect("127.0.0.1", self._port)
            await asyncio.wait_for(self._online.get(), 30)
        return (_cpu() - cpu) / len(self._others)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _salted_password(self: Any, text: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac(self.hash().name, bytes(text), bytes(salt), iterations)


async def measure(port: str, ca_file: str, messages: str, *accounts: str) -> None:
    pair = Pair(int(port), ca_file, int(messages), list(zip(accounts[::2], accounts[1::2], strict=True)))
    print(json.dumps(await pair.run()))


if __name__ == "__main__":
    mechanisms.SCRAM.Hi = _salted_password
    asyncio.run(measure(*sys.argv[1:]))
