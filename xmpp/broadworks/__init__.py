"""Our own client of BroadWorks' OCI-P interface: what we need of it, over TCP and over its SOAP service.

Its predecessor, the library broadworks-ocip, is archived upstream, speaks TCP only, and spins at full CPU for ever when
the server closes the connection (facts/xmpp.md section 4).

`documents`, `framing`, `exchanges`, `soap`, `login` and `commands` do no I/O: an operation is a generator that yields
commands, is sent the answers, and returns its result or raises one of `errors`. `client.run` drives it.
"""

from xmpp.broadworks.client import Server, run
from xmpp.broadworks.errors import BroadworksError, Doubtful, Refused, Unreachable

__all__ = ["BroadworksError", "Doubtful", "Refused", "Server", "Unreachable", "run"]
