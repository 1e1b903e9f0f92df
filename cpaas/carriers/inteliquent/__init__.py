"""Inteliquent (now Sinch): provisioning by its Services API, texts and webhooks by its Message Broker.

The wire contract is its API file V2-3 and what independent integrators found; where the two differ, both readings are
accepted.
"""

from cpaas.carriers.inteliquent.adapter import Inteliquent

__all__ = ["Inteliquent"]
