"""Login throttling: so many wrong attempts a minute per login name and per address (contracts section 4)."""

from __future__ import annotations

import contextlib
import hashlib
import time

from django.conf import settings
from django.core.cache import cache
from redis import RedisError

from portal import request_context
from portal.logs import get_logger
from portal.problems import Problem

logger = get_logger(__name__)
_WINDOW_S = 60
_KNOWN_S = 30 * 24 * 3600


def check_attempts(kind: str, login: str) -> None:
    """Count an attempt before its password is looked at. Raises Problem `rate_limited` (429) with Retry-After when
    there were too many this minute. With the cache away nobody is locked out."""
    try:
        counted = [(_count(key), allowed) for key, allowed in _subjects(kind, login)]
    except RedisError as error:
        logger.warning("attempts_not_counted", error=type(error).__name__)
        return
    if any(count > allowed for count, allowed in counted):
        wait = _WINDOW_S - int(time.time()) % _WINDOW_S
        raise Problem(
            "rate_limited", f"Too many attempts. Try again in {wait} seconds.", status=429, retry_after_s=wait
        )


def forgive_attempt(kind: str, login: str) -> None:
    """The attempt counted last was right after all. From then on this address has its own count for the login, so
    that a stranger who guesses elsewhere does not keep its owner out."""
    try:
        for key, _ in _subjects(kind, login):
            _uncount(key)
        cache.set(_known(kind, login), 1, timeout=_KNOWN_S)
    except RedisError as error:
        logger.warning("attempts_not_counted", error=type(error).__name__)


def _subjects(kind: str, login: str) -> list[tuple[str, int]]:
    """The cache key of this minute, and how many wrong attempts it allows, for the login and for the address."""
    limit = settings.LOGIN_ATTEMPTS_PER_MINUTE
    window = int(time.time()) // _WINDOW_S
    address = _address()
    where = f"@{address}" if cache.get(_known(kind, login)) else ""
    names = [(f"login:{login.casefold()}{where}", limit), (f"ip:{address}", limit * 10)]
    return [
        (f"attempts:{kind}:{hashlib.sha256(name.encode()).hexdigest()}:{window}", allowed) for name, allowed in names
    ]


def _known(kind: str, login: str) -> str:
    """The cache key that says whether the login was right from this address lately."""
    name = f"{login.casefold()}@{_address()}"
    return f"known:{kind}:{hashlib.sha256(name.encode()).hexdigest()}"


def _address() -> str:
    return request_context.current().ip or "local"


def _count(key: str) -> int:
    if cache.add(key, 1, timeout=_WINDOW_S * 2):
        return 1
    return int(cache.incr(key))


def _uncount(key: str) -> None:
    with contextlib.suppress(ValueError):  # a new minute has begun, in which it was not counted
        cache.decr(key)
