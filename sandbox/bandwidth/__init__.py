"""Bandwidth: its messaging interface, the numbers and applications of its dashboard, and the events it posts."""

from sandbox.bandwidth.carrier import Bandwidth

__all__ = ["Bandwidth"]
