"""Which platforms carry a message to one person: by the sender's priority, and by what both have (S0.32-S0.35)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from portal.models import EndUser
from portal.problems import conflict, invalid, not_found
from portal.services.organisation import Organisation, get_colleague, home_of
from portal.sql import as_uuid, execute_planned
from xmpp.services.conversations import Party
from xmpp.services.jids import jids_of, parse_jid

# Each message of each user asks these two: as querysets they took five milliseconds of the fifteen to the peer.
_SENDER = """
    SELECT s.im_priority, b.imp_domain, a.assigned AND a.enabled AND a.imp_id <> '',
        u.group_id, u.reseller_id, g.enterprise
    FROM portal_enduser u JOIN portal_group g ON g.id = u.group_id
    LEFT JOIN portal_usersettings s ON s.user_id = u.id
    LEFT JOIN xmpp_impaccount a ON a.user_id = u.id
    LEFT JOIN xmpp_broadworksconnection b ON b.system_provider_id = u.system_provider_id
    WHERE u.id = %(user)s
"""
_PEER = """
    SELECT u.id, u.name, u.is_active, a.assigned AND a.enabled, u.group_id, u.reseller_id, g.enterprise
    FROM xmpp_impaccount a JOIN portal_enduser u ON u.id = a.user_id JOIN portal_group g ON g.id = u.group_id
    WHERE lower(a.imp_id) = %(jid)s AND a.imp_id <> ''
"""


@dataclass(frozen=True)
class Route:
    """Who gets a message and how: through our own platform, as a stanza to `jid` ("" for none), or both."""

    peer: Party
    own: bool
    jid: str


@dataclass(frozen=True)
class _Sender:
    """What of a user decides how their messages go. `domain` is that of their provider's XMPP server, "" for none."""

    priority: str
    domain: str
    has_xmpp: bool
    home: Organisation


@dataclass(frozen=True)
class _Peer:
    """A user who is written to; `jid` is "" while they have no XMPP (S0.8)."""

    id: uuid.UUID
    name: str
    is_active: bool
    jid: str


def _sender_of(user: EndUser) -> _Sender:
    rows = execute_planned(_SENDER, {"user": user.pk})
    if not rows:
        raise not_found("User")  # deleted since the request began
    priority, domain, has_xmpp, *home = rows[0]
    return _Sender(priority or "both", domain or "", bool(has_xmpp), home_of(*home))


def route_by_name(user: EndUser, name: str) -> Route:
    """How a message of `user` goes to the user with this id, or to whoever has this JID.

    Raises Problem `invalid`, `domain_not_allowed` (400), `not_found` (404) for users outside the organisation (R42),
    `not_reachable` (409).
    """
    sender = _sender_of(user)
    if "@" not in name:
        colleague = get_colleague(user, name)
        its_jid = jids_of([colleague.pk]).get(colleague.pk, "")
        return _route(sender, _Peer(colleague.pk, colleague.name, colleague.is_active, its_jid), "")
    jid = parse_jid(name, "to", domain=sender.domain)
    peer = _peer_with(jid, sender.home)
    if peer is not None and peer.id == user.pk:
        raise invalid(to="This is your own JID.")
    return _route(sender, peer, jid)


def route_to_jid(user: EndUser, jid: str) -> Route:
    """How a message of `user` goes to somebody who is no user of ours. Raises Problem `not_reachable` (409)."""
    return _route(_sender_of(user), None, jid)


def _peer_with(jid: str, home: Organisation) -> _Peer | None:
    """The user of this organisation with this JID."""
    rows = execute_planned(_PEER, {"jid": jid})
    if not rows or home_of(*rows[0][4:]) != home:
        return None
    key, name, is_active, has_xmpp = rows[0][:4]
    return _Peer(as_uuid(key), name, bool(is_active), jid if has_xmpp else "")


def _route(sender: _Sender, peer: _Peer | None, jid: str) -> Route:
    peer_jid = peer.jid if peer is not None else jid
    by_own = peer is not None and peer.is_active and sender.priority != "xmpp"
    by_xmpp = bool(peer_jid) and sender.priority != "own" and sender.has_xmpp
    if not (by_own or by_xmpp):
        raise conflict("not_reachable", _why_not(sender, peer))
    return Route(peer.id if peer is not None else jid, by_own, peer_jid if by_xmpp else "")


def _why_not(sender: _Sender, peer: _Peer | None) -> str:
    if sender.priority == "own":
        return "This contact has XMPP only, and your IM priority is your own platform only. Change it in the settings."
    if peer is not None and not peer.jid:
        return f"{peer.name} has no XMPP, and your IM priority is XMPP only. Change it in the settings."
    return "You have no XMPP. Ask your administrator to enable Integrated IM&P."
