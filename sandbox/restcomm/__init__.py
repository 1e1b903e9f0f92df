"""Restcomm (Telestax): its REST interface of 2012-04-24 and the forms it posts."""

from sandbox.restcomm.carrier import Restcomm

__all__ = ["Restcomm"]
