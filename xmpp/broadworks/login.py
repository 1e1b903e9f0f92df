"""Logging in: BroadWorks gives a nonce, and is given a digest in which the password is not seen."""

from __future__ import annotations

import hashlib

from xmpp.broadworks.documents import Command, Operation, ResultT
from xmpp.broadworks.errors import Doubtful, Refused


def sign_password(nonce: str, password: str) -> str:
    """md5(nonce:sha1(password)), both in lower-case hexadecimal: BroadWorks' scheme, not ours to choose."""
    inner = hashlib.sha1(password.encode()).hexdigest()  # noqa: S324
    return hashlib.md5(f"{nonce}:{inner}".encode()).hexdigest()  # noqa: S324


def logged_in(username: str, password: str, operation: Operation[ResultT]) -> Operation[ResultT]:
    """`operation` in a session of that administrator. Raises Refused when BroadWorks does not let us in."""
    try:
        asked = yield Command("AuthenticationRequest", {"userId": username})
        nonce = asked.text("nonce")
        if not nonce:
            raise Doubtful("BroadWorks did not say how to log in.", "unreadable")
        signed = sign_password(nonce, password)
        yield Command("LoginRequest14sp4", {"userId": username, "signedPassword": signed}, secrets=(signed,))
    except Refused as error:
        raise Refused(f"BroadWorks refused the login: {error.detail}", error.code or "login") from error
    return (yield from operation)
