"""Free ports for servers that tests and benchmarks start, below the range clients get theirs from.

Several test processes, and runs of other checkouts, look for ports at the same time, and a server binds some time after
its port was chosen or is killed and comes back. So stacks get blocks, each with a guard that is kept for as long as the
process lives; other servers get theirs from another range.
"""

from __future__ import annotations

import random
import socket

# A carrier's simulators (26), the portal from the 30th on with its database, broker and further servers.
BLOCK = 50
_BLOCKS = range(20000, 28000, BLOCK + 1)
_SINGLE = range(28000, 32768)
_guards: list[socket.socket] = []


def free_block() -> int:
    """The first of `BLOCK` ports that nobody else gets while this process lives."""
    for guarded in random.sample(_BLOCKS, len(_BLOCKS)):
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", guarded))
        except OSError:
            guard.close()
            continue
        if all(_is_free(port) for port in range(guarded + 1, guarded + 1 + BLOCK)):
            _guards.append(guard)
            return guarded + 1
        guard.close()
    raise RuntimeError("no free ports")


def free_port() -> int:
    """A port nobody listens on."""
    return next(port for port in random.sample(_SINGLE, len(_SINGLE)) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
