"""*Whose ticket?*: who can help with a text that somebody misses (S1.59). A pure function over what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Whose = Literal["carrier", "portal", "none"]
# So long a text may be on its way before anybody is to blame.
PATIENCE_S = 300


@dataclass(frozen=True)
class Facts:
    """What is known of a text. `age_s` counts from its acceptance or receipt; `fetched_by` names the clients that have
    fetched it, `was_online` says whether any client of the user has been there since. `waits_for_agent`: it is a
    media stream's and nobody has reserved it. `is_traced`: it is known who was told of it."""

    direction: str
    status: str
    carrier: str
    sid: str = ""
    error_code: str = ""
    error_text: str = ""
    age_s: float = 0
    platform_reachable: bool = True
    fetched_by: tuple[str, ...] = ()
    was_online: bool = False
    waits_for_agent: bool = False
    is_traced: bool = True


@dataclass(frozen=True)
class Advice:
    """Whose ticket it is, and why, in a sentence for the staff."""

    ticket: Whose
    sentence: str


def advise(facts: Facts) -> Advice:
    """Carrier says sent but it did not arrive, or the carrier knows nothing of it: the carrier's. In the carrier's log
    but not in the client: ours. Else nobody's."""
    return _inbound(facts) if facts.direction == "in" else _outbound(facts)


def _inbound(facts: Facts) -> Advice:
    unheard = {
        "held": "The number may not be used yet; the text is delivered as soon as it may. No ticket is needed.",
        "suppressed": "The user has declined text messaging, so the text is not delivered. No ticket is needed.",
        "blocked": "The user has blocked the sender, so the text is not delivered. No ticket is needed.",
        "unassigned": "The number is not set up here. Add it to its user, then replay the text from the dead letters.",
    }
    if facts.status in unheard:
        return Advice("none", unheard[facts.status])
    if facts.waits_for_agent:
        return Advice("none", "It came to a media stream, and no agent has the conversation now. See the live queue.")
    if facts.fetched_by:
        if facts.fetched_by == ("read",):
            return Advice("none", f"{facts.carrier} handed it over and the user has read it. No ticket is needed.")
        clients = ", ".join(facts.fetched_by)
        return Advice("none", f"{facts.carrier} handed it over and the user's client was told of it: {clients}.")
    if not facts.is_traced:
        return Advice(
            "none",
            f"{facts.carrier} handed it over and it is in the user's conversations. Which client fetched it is not "
            "known: that is kept for a week, and not of what an agent took from a queue.",
        )
    if facts.was_online:
        return Advice(
            "portal",
            f"{facts.carrier} handed it over, but no client of the user has fetched it although one was online. "
            "Raise a ticket with the portal.",
        )
    return Advice("none", "No client of the user has been online since. It is delivered when the client next starts.")


def _outbound(facts: Facts) -> Advice:
    sid = f" Give the SID {facts.sid}." if facts.sid else ""
    if facts.status == "delivered":
        return Advice("none", f"{facts.carrier} reports that the handset has it. No ticket is needed.")
    if facts.status == "sent":
        return Advice(
            "carrier",
            f"{facts.carrier} took it and has not reported that it arrived. If it is missing, raise a ticket with "
            f"{facts.carrier}.{sid}",
        )
    if facts.status == "unknown":
        return Advice(
            "carrier",
            f"It was handed to {facts.carrier}, whose answer never came. If it is missing in the log there, raise a "
            f"ticket with {facts.carrier}.{sid}",
        )
    if facts.status in ("failed", "undelivered"):
        return _failed(facts, sid)
    if not facts.platform_reachable:
        return Advice("carrier", f"{facts.carrier} cannot be reached; the text goes as soon as it answers again.")
    if facts.age_s > PATIENCE_S:
        return Advice("portal", "It has been waiting here for long. Raise a ticket with the portal.")
    return Advice("none", "It is on its way. Look again in a few minutes.")


def _failed(facts: Facts, sid: str) -> Advice:
    # What carriers say has brackets of its own.
    why = f": {facts.error_text.rstrip('.')}" if facts.error_text else ""
    if facts.sid:
        return Advice(
            "carrier", f"{facts.carrier} took it but did not deliver it{why}. Raise a ticket with {facts.carrier}.{sid}"
        )
    if facts.error_code == "expired" and facts.platform_reachable:
        return Advice("portal", "It waited here until it was too old to be sent. Raise a ticket with the portal.")
    if facts.error_code == "expired":
        return Advice("carrier", f"{facts.carrier} could not be reached until it was too old to be sent.")
    if facts.error_code in _OURS:
        return Advice("none", f"It was not sent, by rule{why}. No ticket is needed.")
    return Advice("carrier", f"{facts.carrier} refused it{why}. If that is wrong, raise a ticket with {facts.carrier}.")


# Codes of our own rules, which the dispatcher asks again before it sends (R33).
_OURS = frozenset(
    {
        "already_delivered",
        "remote_opted_out",
        "not_licensed",
        "opt_in_pending",
        "opt_in_declined",
        "number_not_enabled",
        "destination_not_allowed",
        "rate_limited",
        "not_a_known_mobile",
    }
)
