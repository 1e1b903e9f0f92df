"""What a carrier says of an account and its numbers, and what of it staff should know (R44, facts 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cpaas import transport
from cpaas.carriers.base import CarrierNumber, Hook, Refused
from cpaas.carriers.registry import get_carrier
from cpaas.carriers.surveys import KnowsCampaigns, ListsNumbers
from cpaas.models import CpaasNumber, CpaasPlatform
from cpaas.states import HookState
from portal.logs import get_logger

logger = get_logger(__name__)
# The class of an application's texts over an ordinary number, which carriers filter without a campaign (facts 4.2).
NEEDS_CAMPAIGN = frozenset({"A2PLC", "A2P"})


@dataclass(frozen=True)
class Survey:
    """What a carrier says of an account as a whole. None: it was not asked, or cannot tell."""

    hooks: Mapping[str, list[Hook]]
    numbers: Mapping[str, CarrierNumber] | None = None
    campaigns: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Finding:
    """What the carrier says of one number. `hook` is a `HookState`; `warnings` are sentences."""

    hook: str
    owned: bool
    messaging_class: str = ""
    campaign: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, object]:
        """As the number's row holds it."""
        return {
            "hook_state": str(self.hook),
            "messaging_class": self.messaging_class[:40],
            "campaign": self.campaign[:40],
            "warnings": self.warnings,
            "needs_attention": bool(self.warnings),
        }


def survey(platform: CpaasPlatform) -> Survey:
    """Ask the carrier for everything it lists, in a few calls whatever the number of numbers. Raises CarrierError."""
    carrier, account = get_carrier(platform.carrier), platform.account()
    numbers = None
    if isinstance(carrier, ListsNumbers):
        numbers = {number.tn: number for number in transport.run(carrier.list_numbers(account))}
    return Survey(list_hooks(platform), numbers, _list_campaigns(platform))


def list_hooks(platform: CpaasPlatform) -> dict[str, list[Hook]]:
    """The hooks of the account by number, those that serve several under "". Raises CarrierError."""
    found: dict[str, list[Hook]] = {}
    for hook in transport.run(get_carrier(platform.carrier).list_hooks(platform.account())):
        found.setdefault(hook.tn, []).append(hook)
    return found


def hooks_of(platform: CpaasPlatform, tn: str, seen: Survey) -> list[Hook]:
    """The rows that say where texts of a number go: its own, or those of the application that its numbers share."""
    shared = get_carrier(platform.carrier).hook_scope == "application"
    return [*seen.hooks.get(tn, []), *(seen.hooks.get("", []) if shared else [])]


def hook_state(platform: CpaasPlatform, hooks: list[Hook]) -> str:
    """Where texts go by `hooks`. One made under an earlier PORTAL_PUBLIC_URL is one of ours that is missing now."""
    if any(hook.url == platform.inbound_url for hook in hooks):
        return HookState.OK
    if all(f"/webhooks/{platform.carrier}/{platform.pk}/" in hook.url for hook in hooks):
        return HookState.MISSING
    return HookState.FOREIGN


def campaign_of(number: CpaasNumber, known: CarrierNumber, listed: Mapping[str, str] | None) -> str | None:
    """The campaign of a number, "" for none, None when the carrier cannot tell. Asks only where one is needed."""
    if listed is not None:
        return listed.get(number.number, "")
    if known.messaging_class not in NEEDS_CAMPAIGN:
        return None
    listed = _list_campaigns(number.platform)
    return None if listed is None else listed.get(number.number, "")


def _list_campaigns(platform: CpaasPlatform) -> Mapping[str, str] | None:
    """None when the carrier has no such list, or not for this account: its numbers text and are compared without it.

    Raises NotTaken.
    """
    carrier = get_carrier(platform.carrier)
    if not isinstance(carrier, KnowsCampaigns):
        return None
    try:
        return transport.run(carrier.list_campaigns(platform.account()))
    except Refused as error:
        logger.warning("campaigns_not_listed", platform=str(platform.pk), reason=error.detail)
        return None


def warnings_of(number: CpaasNumber, known: CarrierNumber, campaign: str | None) -> list[str]:
    """What staff should know of a number that is on the account (R44, facts 4.2)."""
    label, found = get_carrier(number.platform.carrier).label, []
    if not known.in_service:
        found.append(f"{label} says that the number is not in service: {known.status_word or 'no status'}.")
    if not known.sms:
        found.append(f"Messaging is not switched on for this number at {label}. Switch it on there.")
    if known.messaging_class in NEEDS_CAMPAIGN and campaign == "":
        found.append(
            f"The number is of class {known.messaging_class} but in no 10DLC campaign, so its texts may be filtered. "
            f"Add it to a campaign at {label}."
        )
    wanted = number.platform.option("campaign_id")
    if campaign and wanted and campaign != wanted:
        found.append(f"The number is in campaign {campaign}, while the platform's campaign is {wanted}.")
    return found
