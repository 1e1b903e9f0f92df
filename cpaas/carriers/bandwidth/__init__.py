"""Bandwidth: texts by its Messaging API V2, numbers and applications by its Dashboard API (facts 3.2).

Its webhooks belong to an application, not to a number: one pair of addresses serves all numbers of the application's
locations.
"""

from cpaas.carriers.bandwidth.adapter import Bandwidth

__all__ = ["Bandwidth"]
