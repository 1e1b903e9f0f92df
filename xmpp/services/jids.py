"""Whose JID is whose: users of ours within one organisation, and everybody else of the preconfigured server (S0.29)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from encodings.idna import nameprep

from portal.models import EndUser
from portal.problems import Problem, invalid
from portal.services.organisation import organisations_of
from portal.sql import as_uuid, execute_for, execute_for_texts
from xmpp.models import BroadworksConnection
from xmpp.stanzas import LONGEST_JID

# What neither part may hold (RFC 7622 §3.3.1), white space and what cannot be seen.
_PART = re.compile(r"""[^\s"&'/:<>@\x00-\x1f\x7f]+""")

_OWNERS = "SELECT user_id, lower(imp_id) FROM xmpp_impaccount WHERE lower(imp_id) {among} AND imp_id <> ''"
_JIDS = """
    SELECT user_id, imp_id FROM xmpp_impaccount WHERE user_id {among} AND assigned AND enabled AND imp_id <> ''
"""


def users_of_jids(jids: Collection[str], account_ids: Collection[uuid.UUID]) -> dict[tuple[uuid.UUID, str], uuid.UUID]:
    """(account, JID) → our user with that JID, in the organisation of the account's user.

    Users of other organisations do not exist for each other (R42): between them there are only JIDs, as with anybody
    who is no user of ours.
    """
    rows = execute_for_texts(_OWNERS, jids, {}) if jids else []
    owners = {jid: as_uuid(key) for key, jid in rows}
    homes = organisations_of({*owners.values(), *account_ids})
    return {
        (account_id, jid): owner
        for jid, owner in owners.items()
        for account_id in account_ids
        if account_id in homes and homes.get(owner) == homes[account_id]
    }


def jids_of(user_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The JIDs of those of these users who have Integrated IM&P now (S0.8), in lower case."""
    rows = execute_for(_JIDS, user_ids, {}) if user_ids else []
    return {as_uuid(key): jid.lower() for key, jid in rows}


def local_part(text: str) -> str:
    """What stands before the @ as servers compare it: in lower case, and look-alikes as one (RFC 6122, appendix A).

    "" for what cannot stand there: in a stanza a server would refuse it, or end the session over it.
    """
    try:
        prepared = nameprep(text)
    except UnicodeError:
        return ""
    return prepared if _PART.fullmatch(prepared) else ""


def is_bare_jid(text: str) -> bool:
    """Whether a server takes it for a JID without a resource."""
    name, _, home = text.partition("@")
    return len(text) <= LONGEST_JID and bool(local_part(name)) and bool(_PART.fullmatch(home))


def domain_of(user: EndUser) -> str:
    """The domain of the XMPP server of the user's provider; "" when it has none."""
    connections = BroadworksConnection.objects.filter(pk=user.system_provider_id)
    return connections.values_list("imp_domain", flat=True).first() or ""


def parse_jid(value: str, field: str, *, domain: str) -> str:
    """The bare JID in `value`, as servers write it; it must be on the server of this domain (S0.29).

    Raises Problem `invalid`, `domain_not_allowed` (400).
    """
    # What is too long is not prepared: that takes a look at each character.
    name, _, home = value.strip().partition("/")[0][: LONGEST_JID + 1].lower().partition("@")
    jid = f"{local_part(name)}@{home}"
    if not is_bare_jid(jid):
        raise invalid(**{field: "This is not a JID. It looks like name@example.com."})
    if home != domain.lower():
        raise Problem(
            "domain_not_allowed",
            f"Only people of {domain} can be reached by XMPP." if domain else "There is no XMPP here.",
            status=400,
            errors={field: ["This is a JID of another server."]},
        )
    return jid
