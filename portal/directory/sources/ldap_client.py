"""The one client of LDAP servers: connect, bind, search, close. Never to a private address that is not allowed, with
TLS as Python checks it, without referrals.

ldap3 is the only client that needs no compiler at an install. It is quiet upstream, so all we use of it is here.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import ldap3
from ldap3.core import exceptions as ldap

from portal.directory.sources.base import MOST, SourceError, Where, ended_after, public_address

Entry = Mapping[str, Any]
_SENTENCES: list[tuple[type[Exception], str]] = [
    (ldap.LDAPInvalidCredentialsResult, "The server refused the bind DN or its password."),
    (ldap.LDAPInappropriateAuthenticationResult, "The server refused the bind DN or its password."),
    (ldap.LDAPNoSuchObjectResult, "The base DN does not exist on the server, or may not be read."),
    (ldap.LDAPInvalidDNSyntaxResult, "The bind DN or base DN is not written as the server wants it."),
    (ldap.LDAPInvalidDnError, "The bind DN or base DN is not written as the server wants it."),
    (ldap.LDAPInsufficientAccessRightsResult, "The bind DN may not search there."),
    (ldap.LDAPInvalidFilterError, "The server does not understand the filter."),
    (ldap.LDAPStrongerAuthRequiredResult, "The server wants a secure connection, or a bind DN."),
    (ldap.LDAPConfidentialityRequiredResult, "The server wants a secure connection: choose TLS or StartTLS."),
    (ldap.LDAPSocketReceiveError, "The server did not answer in time."),
    (ldap.LDAPTimeLimitExceededResult, "The server did not answer in time."),
    (ldap.LDAPSessionTerminatedByServerError, "The server did not answer in time, or hung up."),
]


class _Tls(ldap3.Tls):  # type: ignore[misc]
    """TLS as Python does it, the name checked: ldap3's own way is gone from Python 3.12."""

    def __init__(self, host: str, authority: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = ssl.create_default_context(cadata=authority or None)
        self._host = host

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=self._host)


def search(where: Where, *, port: int, condition: str, attributes: list[str], timeout_s: float) -> list[Entry]:
    """The first `MOST` entries below the base DN that meet `condition`. Raises SourceError."""
    with _connection(where, port, timeout_s) as connection:
        with suppress(ldap.LDAPSizeLimitExceededResult):  # the first of many
            connection.search(
                search_base=where.text("base_dn"),
                search_filter=condition,
                search_scope=ldap3.SUBTREE,
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=attributes or [ldap3.NO_ATTRIBUTES],
                size_limit=MOST,
                time_limit=max(1, round(timeout_s)),
            )
        found = [entry for entry in connection.response or () if entry.get("type") == "searchResEntry"]
        return found[:MOST]


@contextmanager
def _connection(where: Where, port: int, timeout_s: float) -> Iterator[Any]:
    connection = _unopened(where, public_address(where.host, port), port, timeout_s)
    try:
        connection.open(read_server_info=False)
        # Its own time-out begins anew with every byte.
        with ended_after(timeout_s, connection.socket.fileno()):
            if where.text("security") == "starttls":
                connection.start_tls(read_server_info=False)
            connection.bind(read_server_info=False)
            yield connection
    except (ldap.LDAPException, OSError) as error:
        raise SourceError(_why(error, where)) from error
    finally:
        if connection.socket is not None:
            connection.strategy.close()


def _unopened(where: Where, address: str, port: int, timeout_s: float) -> Any:
    try:
        tls = _Tls(where.host, where.text("ca_certificate"))
    except ssl.SSLError as error:
        raise SourceError("The CA certificate cannot be read. Paste it as PEM.") from error
    is_tls = where.text("security") == "tls"
    server = ldap3.Server(address, port=port, use_ssl=is_tls, tls=tls, get_info=ldap3.NONE, connect_timeout=timeout_s)
    return ldap3.Connection(
        server,
        user=where.text("bind_dn") or None,
        password=where.secrets.get("password") or None,
        read_only=True,
        auto_referrals=False,
        raise_exceptions=True,
        receive_timeout=max(1, round(timeout_s)),
    )


def _why(error: Exception, where: Where) -> str:
    """What went wrong, for a person."""
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind):
            return sentence
    if isinstance(error, ldap.LDAPSocketOpenError | ldap.LDAPSocketSendError | ldap.LDAPStartTLSError | OSError):
        is_certificate = "CERTIFICATE" in str(error).upper()
        reason = "its certificate was not accepted" if is_certificate else "there is no connection"
        return f"{where.host} could not be reached: {reason}. Check host, port and security."
    name = getattr(error, "description", None) or type(error).__name__
    return f"The server refused the search: {name}."
