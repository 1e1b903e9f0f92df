"""Gives a Python process with this folder on its path a wall clock that is as many days off as the file TURNED_CLOCK
says, from one moment to the next. Clocks that nobody can set, and sleeping, go on as they are.

(libfaketime would do it for any process, but breaks every `time.sleep`, which sleeps by an absolute monotonic time.)
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

# The portal takes a process with pytest in it for a test, and time_machine would import it.
sys.modules["pytest"] = None  # type: ignore[assignment]
import time_machine  # noqa: E402

del sys.modules["pytest"]


def follow(file: Path) -> None:
    days, journey = 0, None
    while True:
        wanted = int(file.read_text() or 0)
        if wanted != days:
            if journey is not None:
                journey.stop()
            journey = time_machine.travel(datetime.now(UTC) + timedelta(days=wanted), tick=True)
            journey.start()
            days = wanted
        time.sleep(0.1)


threading.Thread(target=follow, args=[Path(os.environ["TURNED_CLOCK"])], daemon=True).start()
