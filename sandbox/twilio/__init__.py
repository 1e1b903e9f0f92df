"""Twilio: its REST interface of 2010-04-01 and the signed forms it posts to webhooks."""

from sandbox.twilio.carrier import Twilio

__all__ = ["Twilio"]
