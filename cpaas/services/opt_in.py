"""Opt-in: whether a user wants text messaging with a number, and the evidence of the answers (S1.2–S1.11, R3)."""

from __future__ import annotations

import hashlib
from typing import Any

from django.db import transaction

from cpaas.models import CpaasNumber, OptInEvidence
from cpaas.models.consent import STATE_OF_ANSWER
from cpaas.services.held import deliver_held
from cpaas.services.numbers import tell_number_changed
from cpaas.services.opt_in_mail import queue_alert_mails
from cpaas.states import OPT_IN_OPEN, NumberStatus, OptInState
from portal import clock, request_context
from portal.events import News
from portal.models import EndUser
from portal.problems import conflict, invalid, not_found
from portal.scoping import Actor, require_writer
from portal.services import audit

CHOICES = [
    {"answer": "yes", "label": "Yes"},
    {"answer": "no", "label": "No"},
    {"answer": "cancel", "label": "Cancel"},
]


def prompt_text(number: CpaasNumber) -> str:
    """The words a user is asked with, the platform's prompt filled in (S1.62)."""
    name = number.user.name if number.user else ""
    filled = {
        "{number}": number.national,
        "{name}": name,
        "{provider}": number.platform.system_provider.name,
    }
    text = number.platform.opt_in_prompt
    for placeholder, value in filled.items():
        text = text.replace(placeholder, value)
    return text


def prompt_of(number: CpaasNumber) -> dict[str, Any] | None:
    """The prompt the client must show now, None when there is nothing to ask (contracts, Opt-in)."""
    if number.opt_in_state not in OPT_IN_OPEN or number.status != NumberStatus.ENABLED:
        return None
    text = prompt_text(number)
    return {
        "id": _prompt_id(number, text),
        "title": f"Text messaging for {number.national}",
        "text": text,
        "choices": CHOICES,
    }


def record_opt_in(*, user: EndUser, number: CpaasNumber, answer: str, prompt_id: str | None = None) -> CpaasNumber:
    """Store a user's answer: *yes* usable at once, *no* closed until a reset, *cancel* asked again (R3).

    The same answer again changes nothing. Raises Problem `invalid`, `opt_in_closed`, `prompt_changed`,
    `number_not_enabled`, `not_found`.
    """
    if answer not in STATE_OF_ANSWER:
        raise invalid(answer="Answer yes, no or cancel.")
    with transaction.atomic():
        row = CpaasNumber.objects.select_for_update(of=("self",)).filter(pk=number.pk, user=user).first()
        if row is None or row.status == NumberStatus.REMOVING:
            raise not_found("CPaaS number")
        state = STATE_OF_ANSWER[answer]
        if row.opt_in_state == state:
            return row
        _require_open(row, prompt_id)
        first_cancel = not _answered(row, "cancel")
        _add_evidence(user, row, answer)
        row.opt_in_state, row.opt_in_at = state, clock.now()
        row.save(update_fields=["opt_in_state", "opt_in_at"])
        audit.record(user, "opt_in", row, after={"answer": answer, "state": state})
        if answer == "no" or (answer == "cancel" and first_cancel):
            queue_alert_mails(row, user, state)
        news = News()
        if row.is_usable:
            deliver_held(row, news)
        news.add(row.user_id, "number.updated", row.pk)
        news.write()
    return row


def reset_opt_in(*, actor: Actor | None, number: CpaasNumber) -> CpaasNumber:
    """Start a new opt-in cycle: unusable at once, prompted at the next start (S1.11, S4.36, S4.37). Evidence stays.

    Pending changes nothing. Raises Problem `opt_in_not_required` (409), `not_found`.
    """
    require_writer(actor)
    with transaction.atomic():
        row = CpaasNumber.objects.select_for_update().filter(pk=number.pk).first()
        if row is None or row.status == NumberStatus.REMOVING:
            raise not_found("CPaaS number")
        if row.opt_in_state == OptInState.NOT_REQUIRED:
            raise conflict(
                "opt_in_not_required", "This number is used without asking anybody, so nothing can be reset."
            )
        if row.opt_in_state == OptInState.PENDING:
            return row
        before = {"state": row.opt_in_state}
        row.opt_in_state, row.opt_in_at, row.opt_in_cycle = OptInState.PENDING, None, row.opt_in_cycle + 1
        row.save(update_fields=["opt_in_state", "opt_in_at", "opt_in_cycle"])
        audit.record(actor, "reset_opt_in", row, before=before, after={"state": row.opt_in_state})
        tell_number_changed(row)
    return row


def _prompt_id(number: CpaasNumber, text: str) -> str:
    return hashlib.sha256(f"{number.pk}:{number.opt_in_cycle}:{text}".encode()).hexdigest()[:16]


def _require_open(number: CpaasNumber, prompt_id: str | None) -> None:
    if number.opt_in_state not in OPT_IN_OPEN:
        raise conflict(
            "opt_in_closed",
            "This question was already answered. Your administrator can reset it, then you are asked again.",
        )
    if number.status != NumberStatus.ENABLED:
        raise conflict("number_not_enabled", "This number is not yet enabled for text messaging.")
    if prompt_id is not None and prompt_id != _prompt_id(number, prompt_text(number)):
        raise conflict(
            "prompt_changed", "The question has changed since it was shown. Fetch the session and ask again."
        )


def _answered(number: CpaasNumber, answer: str) -> bool:
    """Whether this cycle already has `answer`."""
    return OptInEvidence.objects.filter(number_id=number.pk, cycle=number.opt_in_cycle, answer=answer).exists()


def _add_evidence(user: EndUser, number: CpaasNumber, answer: str) -> None:
    context = request_context.current()
    OptInEvidence.objects.create(
        number_id=number.pk,
        tn=number.number,
        cycle=number.opt_in_cycle,
        answer=answer,
        user_id=user.pk,
        user_name=user.name,
        user_login=user.login,
        **audit.actor_of(user),
        prompt_text=prompt_text(number),
        client=context.client,
        ip=context.ip,
        **audit.tenant_of(number),
    )
