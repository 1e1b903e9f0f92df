"""XMPP users as cheap as can be, for the gateway's benchmark: bare sockets that write texts, or count what they get.

    python -m benchmarks._baselines.xmpp_users write PORT DOMAIN CA_FILE TO MESSAGES JID PASSWORD ...
    python -m benchmarks._baselines.xmpp_users hear PORT DOMAIN CA_FILE "" MESSAGES JID PASSWORD ...

`write`: each user in turn sends to the numbers at TO (a component's domain), all at once. `hear` prints "online", then
waits until so many messages came. Both print JSON: messages, seconds from the first to the last.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time

import uvloop

from benchmarks._baselines.xmpp_raw import END, log_in


class Ear(asyncio.Protocol):
    """Counts what one user gets."""

    def __init__(self, heard: Heard) -> None:
        self._heard, self._rest = heard, b""

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        self._heard.add(data.count(END))
        self._rest = data[-len(END) + 1 :].rpartition(b">")[2]


class Heard:
    def __init__(self, wanted: int) -> None:
        self._wanted, self.count, self.first, self.last = wanted, 0, 0.0, 0.0
        self.done = asyncio.Event()

    def add(self, count: int) -> None:
        if not count:
            return
        self.last = time.monotonic()
        self.first = self.first or self.last
        self.count += count
        if self.count >= self._wanted:
            self.done.set()


async def run(kind: str, port: str, domain: str, ca_file: str, to: str, messages: str, *words: str) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    accounts = list(zip(words[::2], words[1::2], strict=True))
    writers = [await log_in(int(port), domain, context, *account) for account in accounts]
    heard = Heard(int(messages))
    for writer in writers:
        writer.transport.set_protocol(Ear(heard))
    print("online", flush=True)
    began = time.monotonic()
    if kind == "write":
        for n in range(int(messages)):
            stanza = f"<message to='+1703608{n % 10_000:04d}@{to}' type='chat' id='{n}'><body>Hello</body></message>"
            writers[n % len(writers)].write(stanza.encode())
        for writer in writers:
            await writer.drain()
        # The connections stay until whoever measures has seen enough.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        heard.first, heard.last = began, time.monotonic()
    else:
        await asyncio.wait_for(heard.done.wait(), 600)
    print(json.dumps({"messages": heard.count, "seconds": heard.last - heard.first}), flush=True)


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
