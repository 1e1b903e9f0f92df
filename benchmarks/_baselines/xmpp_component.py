"""A component that does nothing but hear or tell, beside which the gateway stands: what the server does for the users.

    python -m benchmarks._baselines.xmpp_component hear PORT DOMAIN SECRET MESSAGES
    python -m benchmarks._baselines.xmpp_component tell PORT DOMAIN SECRET MESSAGES JID ...

Prints "online". `hear` counts what it gets and prints JSON: messages, seconds from the first to the last. `tell` waits
for a line and writes to each JID in turn, all at once.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from benchmarks._baselines.xmpp_raw import open_component
from benchmarks._baselines.xmpp_users import Ear, Heard


async def run(kind: str, port: str, domain: str, secret: str, messages: str, *jids: str) -> None:
    writer = await open_component(int(port), domain, secret)
    heard = Heard(int(messages))
    writer.transport.set_protocol(Ear(heard))
    print("online", flush=True)
    if kind == "hear":
        await asyncio.wait_for(heard.done.wait(), 600)
        print(json.dumps({"messages": heard.count, "seconds": heard.last - heard.first}), flush=True)
        return
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    for n in range(int(messages)):
        to, sender = jids[n % len(jids)], f"+1703608{n % 500:04d}@{domain}"
        stanza = f"<message to='{to}' from='{sender}' type='chat' id='{n}'><body>Hello</body></message>"
        writer.transport.write(stanza.encode())
    # The connection stays until the users have heard all.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
