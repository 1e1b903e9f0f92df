"""How long a session waits before it connects again."""

from __future__ import annotations

import random

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# A certificate does not mend itself within seconds, and another place that uses our resource is another worker of ours.
TLS_PAUSE_S = 300.0
CONFLICT_PAUSE_S = 20.0
# The server may be restarted with all accounts at once: nobody comes back in the first moment.
SPREAD_S = 3.0


def pause_s(failures: int, was_online: bool, *, has_tls: bool, is_conflict: bool) -> float:
    """Seconds after a connection ended: longer after each failure in a row, and never the same for all."""
    if not has_tls:
        return TLS_PAUSE_S * random.uniform(0.8, 1.2)  # noqa: S311
    if is_conflict:
        return CONFLICT_PAUSE_S
    if was_online:
        return random.uniform(0.1, SPREAD_S)  # noqa: S311
    return min(FIRST_PAUSE_S * 2.0 ** (failures - 1), LONGEST_PAUSE_S) * random.uniform(0.5, 1.5)  # noqa: S311
