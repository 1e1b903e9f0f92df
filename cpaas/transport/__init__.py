"""Drives the operations of carrier adapters: one place for time-outs, redaction and the question "was it taken?" (R32).

`run` and `download` block, serve tasks and pages, and refuse to run inside a database transaction; `run_async` serves
the dispatcher with a session from `client_session`. All give up on an exchange after `timeout_s` in all and follow no
redirect. A failure before the request was written is thrown into the operation as `NotTaken`, any later one as
`Doubtful`.
"""

from cpaas.transport.blocking import download, run
from cpaas.transport.exchanges import CONNECT_TIMEOUT_S, TIMEOUT_S, Trace
from cpaas.transport.streaming import client_session, run_async
from portal.addresses import ForbiddenAddress, check_base_url
from portal.outside import TransactionOpen

__all__ = [
    "CONNECT_TIMEOUT_S",
    "TIMEOUT_S",
    "ForbiddenAddress",
    "Trace",
    "TransactionOpen",
    "check_base_url",
    "client_session",
    "download",
    "run",
    "run_async",
]
