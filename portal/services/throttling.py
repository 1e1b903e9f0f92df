"""Login throttling: so many attempts a minute per login name and per address (contracts section 4)."""

from __future__ import annotations

import hashlib
import time

from django.conf import settings
from django.core.cache import cache

from portal import request_context
from portal.problems import Problem

_WINDOW_S = 60


def check_attempts(kind: str, login: str) -> None:
    """Count an attempt. Raises Problem `rate_limited` (429) with Retry-After when there were too many this minute."""
    limit = settings.LOGIN_ATTEMPTS_PER_MINUTE
    window = int(time.time()) // _WINDOW_S
    address = request_context.current().ip or "local"
    for subject, allowed in ((f"login:{login}", limit), (f"ip:{address}", limit * 10)):
        key = f"attempts:{kind}:{hashlib.sha256(subject.encode()).hexdigest()}:{window}"
        cache.add(key, 0, timeout=_WINDOW_S * 2)
        if cache.incr(key) > allowed:
            wait = _WINDOW_S - int(time.time()) % _WINDOW_S
            raise Problem(
                "rate_limited", f"Too many attempts. Try again in {wait} seconds.", status=429, retry_after_s=wait
            )
