"""Python's collector of cyclic garbage, told what need not be looked through again and again.

A process with Django has some hundred thousand objects from its start to its end. Going through them took 200 ms, in
which nothing else ran, after every few thousand events told.
"""

from __future__ import annotations

import gc

# Objects more than at the last look, before the next. Reading for many users at once makes thousands for a moment, by
# counting references alone they are gone again.
_YOUNG = 20_000


def spare_what_stays() -> None:
    """Call when a process has started: what is there now is there to stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
