"""CPaaS platforms: probed at the carrier before they are saved; never without an alert account (S4.9–S4.22)."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from cpaas import transport
from cpaas.carriers.base import CarrierError, Refused
from cpaas.carriers.registry import CARRIERS, get_carrier
from cpaas.models import CpaasPlatform
from cpaas.models.platforms import DEFAULT_OPT_IN_PROMPT
from cpaas.services.platform_options import merge_options
from portal import clock
from portal.background import few_at_once, run_soon
from portal.models import SystemProvider
from portal.problems import Problem, conflict, invalid
from portal.scoping import Actor, require_writer
from portal.services import accounts, audit
from portal.services.changes import apply_changes, validate
from portal.services.mail import queue_mail

HOOK_TASK = "cpaas.tasks.work_numbers"
_NEW_ADDRESS = """\
{actor} gave another address at which the CPaaS platform {name} shall reach its carrier:

{addresses}

The keys of the platform are sent there to try it, and from then on if it answers. If this was not meant, change it back
and replace the keys at the carrier.
"""
PLATFORM_FIELDS = {"name", "user_confirmation_required", "user_can_block", "mms", "opt_in_prompt"}


def has_alert_account(system_provider_id: uuid.UUID) -> bool:
    return bool(accounts.alert_accounts(system_provider_id))


def require_alert_account(system_provider_id: uuid.UUID) -> None:
    """Raises Problem `no_alert_account` (409) while nobody of the system provider gets alerts (S4.20, R27)."""
    if not has_alert_account(system_provider_id):
        raise conflict(
            "no_alert_account",
            "No portal account of this system provider has Send Alerts enabled. Enable it for at least one active "
            "account at the system provider level, then add the CPaaS platform.",
        )


def platforms_for(system_provider_id: uuid.UUID) -> QuerySet[CpaasPlatform]:
    """The platforms a number of that tenant can be assigned through, for staff of any level (S4.27)."""
    return CpaasPlatform.objects.of_tenant(system_provider_id).order_by("id")


def create_platform(
    *,
    actor: Actor | None,
    system_provider: SystemProvider,
    carrier: str,
    name: str,
    credentials: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
    user_confirmation_required: bool = True,
    user_can_block: bool = False,
    mms: bool = False,
    opt_in_prompt: str = "",
) -> CpaasPlatform:
    """Add a carrier account. Asks the carrier first; any issue is raised and nothing is saved (S4.22).

    Raises Problem `no_alert_account`, `invalid`, `carrier_rejected`, `carrier_unreachable`.
    """
    require_writer(actor)
    require_alert_account(system_provider.pk)
    if carrier not in CARRIERS:
        raise invalid(carrier=f"Choose one of {', '.join(CARRIERS)}.")
    platform = CpaasPlatform(
        system_provider=system_provider,
        carrier=carrier,
        name=name,
        credentials=merge_credentials(carrier, {}, credentials),
        options=merge_options(carrier, {}, options or {}),
        user_confirmation_required=user_confirmation_required,
        user_can_block=user_can_block,
        mms=mms,
        opt_in_prompt=opt_in_prompt or DEFAULT_OPT_IN_PROMPT,
    )
    _check(platform)
    _probe(platform)
    with transaction.atomic():
        # Again with the tenant locked: the last alert account may have gone while the carrier was asked (S4.20, R10).
        accounts.lock_tenant(system_provider.pk)
        require_alert_account(system_provider.pk)
        platform.save(force_insert=True)
        audit.record(actor, "create", platform, after={"name": name, "carrier": carrier})
    return platform


def update_platform(*, actor: Actor | None, platform: CpaasPlatform, changes: Mapping[str, Any]) -> CpaasPlatform:
    """Change a platform. Secrets left blank are kept (R9); the carrier is asked with the values that would hold.

    Raises Problem `invalid`, `carrier_rejected`, `carrier_unreachable`; then the old values stay.
    """
    require_writer(actor)
    seen = platform.webhook_digest, platform.credentials, platform.options
    draft = CpaasPlatform.objects.get(pk=platform.pk)
    old = _addresses(draft)
    _merge(draft, changes)
    if (new := _addresses(draft)) != old:
        _tell_of_new_address(actor, platform, old, new)
    _probe(draft)
    with transaction.atomic():
        row = CpaasPlatform.objects.select_for_update().get(pk=platform.pk)
        if (row.webhook_digest, row.credentials, row.options) != seen:
            raise conflict("changed_meanwhile", "Somebody else changed this platform just now. Look and try again.")
        before, after = _merge(row, changes)
        row.state, row.state_detail, row.checked_at = "connected", "", clock.now()
        row.reachable, row.probe_at = True, None
        _keep_former_keys(row, platform.credentials)
        row.save()
        audit.record(actor, "update", row, before=before, after=after)
    return row


def delete_platform(*, actor: Actor | None, platform: CpaasPlatform) -> None:
    """Delete a platform without numbers. Raises Problem `in_use` (409)."""
    require_writer(actor)
    with transaction.atomic():
        accounts.lock_tenant(platform.system_provider_id)
        CpaasPlatform.objects.select_for_update().get(pk=platform.pk)
        if platform.numbers.exists():
            raise conflict("in_use", f"{platform.name} still has numbers. Delete its numbers first.")
        audit.record(actor, "delete", platform, before={"name": platform.name, "carrier": platform.carrier})
        platform.delete()


def test_platform(*, actor: Actor | None, platform: CpaasPlatform) -> CpaasPlatform:
    """Ask the carrier whether the keys work and remember what it said. Raises nothing for a carrier's no."""
    require_writer(actor)
    state, detail = "connected", ""
    try:
        transport.run(get_carrier(platform.carrier).verify(platform.account()))
    except CarrierError as error:
        state, detail = "failed", error.detail[:300]
    platform.state, platform.state_detail, platform.checked_at = state, detail, clock.now()
    # It may have been deleted meanwhile.
    found = {"state": state, "state_detail": detail, "checked_at": platform.checked_at}
    CpaasPlatform.objects.filter(pk=platform.pk).update(**found)
    return platform


@few_at_once(1)
def test_every_platform() -> int:
    """Ask every carrier account whether its keys still work, so that staff see a failed one before users do; returns
    how many."""
    asked = 0
    for platform in CpaasPlatform.objects.order_by("id").iterator():
        test_platform(actor=None, platform=platform)
        asked += 1
    return asked


def merge_credentials(carrier: str, old: Mapping[str, str], new: Mapping[str, Any]) -> dict[str, str]:
    """`old` with the non-blank values of `new` over it; None takes one back, and what is generated is made anew.

    Raises Problem `invalid` that names unknown, missing or malformed fields.
    """
    fields = {field.name: field for field in get_carrier(carrier).credential_fields}
    errors = {name: ["There is no such credential."] for name in new if name not in fields}
    merged = dict(old)
    for name, value in new.items():
        if value == "":
            continue
        if value is None:
            merged.pop(name, None)
            continue
        text = value.strip() if isinstance(value, str) else None
        if not text or len(text) > 500 or not text.isprintable() or not text.isascii():
            errors[name] = ["Paste the key as it stands in the carrier's portal."]
        else:
            merged[name] = text
    for name, field in fields.items():
        if not merged.get(name) and field.generated:
            merged[name] = secrets.token_urlsafe(24)
        elif not merged.get(name) and field.required:
            errors.setdefault(name, [f"{field.label} is needed."])
    if errors:
        detail = " ".join(sentence for sentences in errors.values() for sentence in sentences)
        raise Problem("invalid", detail, errors={f"credentials.{name}": found for name, found in errors.items()})
    return merged


def _merge(platform: CpaasPlatform, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put `changes` on a platform (not saved); returns what an audit row may say of it: of credentials only names."""
    plain = {name: value for name, value in changes.items() if name not in ("credentials", "options")}
    before, after = apply_changes(platform, plain, allowed=PLATFORM_FIELDS)
    platform.opt_in_prompt = platform.opt_in_prompt or DEFAULT_OPT_IN_PROMPT
    credentials = merge_credentials(platform.carrier, platform.credentials, changes.get("credentials") or {})
    options = merge_options(platform.carrier, platform.options, changes.get("options") or {})
    replaced = sorted(name for name, value in credentials.items() if platform.credentials.get(name) != value)
    if replaced:
        after["credentials"] = f"replaced: {', '.join(replaced)}"
    if options != platform.options:
        before["options"], after["options"] = platform.options, options
    platform.credentials, platform.options = credentials, options
    _check(platform)
    return before, after


def _addresses(platform: CpaasPlatform) -> dict[str, str]:
    """Where the carrier is reached, by the names of the options."""
    defaults = get_carrier(platform.carrier).default_options
    return {name: platform.options.get(name) or default for name, default in defaults.items()}


def _tell_of_new_address(
    actor: Actor | None, platform: CpaasPlatform, old: dict[str, str], new: dict[str, str]
) -> None:
    """Before the keys are sent there (R9: those that stay blank too), so that nobody can have them in secret."""
    text = _NEW_ADDRESS.format(
        name=platform.name,
        actor=audit.actor_of(actor)["actor_name"],
        addresses="\n".join(f"{url} (was {old[name]})" for name, url in new.items() if url != old[name]),
    )
    with transaction.atomic():
        audit.record(actor, "new_address", platform, before=old, after=new)
        for account in accounts.alert_accounts(platform.system_provider_id):
            queue_mail(to=account.email, subject=f"New address of CPaaS platform {platform.name}", text=text)


def _keep_former_keys(platform: CpaasPlatform, old: Mapping[str, str]) -> None:
    """When a key that signs webhooks was replaced, accept the former one until the carrier has the new one (S4.43)."""
    signing = [field.name for field in get_carrier(platform.carrier).credential_fields if field.generated]
    former = {name: old[name] for name in signing if old.get(name) and old[name] != platform.credentials[name]}
    if former:
        platform.former_keys = former
        platform.keys_changed_at = platform.hooks_due_at = clock.now()
        run_soon(HOOK_TASK)


def _check(platform: CpaasPlatform) -> None:
    validate(platform, exclude={"credentials", "options", "webhook_secret", "webhook_digest"})
    if platform.mms and not get_carrier(platform.carrier).supports_mms:
        raise invalid(mms=f"{get_carrier(platform.carrier).label} has no MMS.")


def _probe(platform: CpaasPlatform) -> None:
    """Ask the carrier whether it knows us (S4.22). No transaction may be open."""
    try:
        transport.run(get_carrier(platform.carrier).verify(platform.account()))
    except CarrierError as error:
        raise carrier_problem(error) from error


def carrier_problem(error: CarrierError) -> Problem:
    """What a carrier's answer means to whoever asked: `carrier_rejected` (400) or `carrier_unreachable` (502)."""
    if isinstance(error, Refused):
        return Problem("carrier_rejected", error.detail, status=400)
    return Problem("carrier_unreachable", error.detail, status=502)
