"""Driving an operation: one session for it alone, logged in anew, so that nothing of an earlier failure is left."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from cpaas import transport
from portal.outside import refuse_open_transaction
from xmpp.broadworks.documents import Operation
from xmpp.broadworks.errors import BroadworksError
from xmpp.broadworks.login import logged_in
from xmpp.broadworks.soap import over_http
from xmpp.broadworks.tcp import TcpSession

TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 5.0

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Server:
    """Where BroadWorks is and who we are there. `transport` is tcp or soap; its `repr` has no password."""

    host: str
    port: int
    transport: str
    username: str
    password: str = field(repr=False)
    tls: bool = False
    path: str = "/webservice/services/ProvisioningService"

    @property
    def url(self) -> str:
        """Of the SOAP service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


def run(
    server: Server,
    operation: Operation[ResultT],
    *,
    timeout_s: float = TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
) -> ResultT:
    """The operation's result. `timeout_s` is that of each command.

    Raises what the operation raises: Refused, Unreachable or Doubtful unless it makes something of them; and
    TransactionOpen.
    """
    refuse_open_transaction()
    session = logged_in(server.username, server.password, operation)
    if server.transport == "soap":
        http = over_http(server.url, session)
        return transport.run(http, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s)
    with (
        closing(session),
        TcpSession(
            server.host, server.port, tls=server.tls, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s
        ) as connection,
    ):
        return _drive(session, connection)


def _drive(operation: Operation[ResultT], connection: TcpSession) -> ResultT:
    try:
        command = next(operation)
        while True:
            try:
                answer = connection.ask(command)
            except BroadworksError as error:
                command = operation.throw(error)
            else:
                command = operation.send(answer)
    except StopIteration as finished:
        result: ResultT = finished.value
        return result
