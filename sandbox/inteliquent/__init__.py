"""Inteliquent: the Services interface, the Message Broker, and what it posts to webhooks."""

from sandbox.inteliquent.carrier import Inteliquent

__all__ = ["Inteliquent"]
