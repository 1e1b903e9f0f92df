"""Texts that users write in an XMPP client: the same rules as everywhere, because it is the same service that sends."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import IntegrityError, transaction

from cpaas.models import Conversation, CpaasNumber, Message
from cpaas.services.sending import choose_number, send_message
from cpaas.states import NumberStatus
from portal import clock
from portal.models import EndUser
from portal.problems import Problem
from xmpp.gateway_stanzas import Refusal, Written
from xmpp.models import ImpAccount, TextFromXmpp
from xmpp.services.gateway_members import accounts_on
from xmpp.stanzas import bare

NOT_LINKED = Refusal(
    "auth",
    "registration-required",
    "This account cannot send texts here: it belongs to no user of the portal whose Integrated IM&P is on.",
)
USED_ID = Refusal("modify", "conflict", "The id of this message was used for another text before. Send it once more.")
# A refusal says what to do in its sentence; the condition is for programs.
_CONDITIONS = {
    "empty": ("modify", "bad-request"),
    "invalid": ("modify", "bad-request"),
    "invalid_number": ("cancel", "item-not-found"),
    "too_long": ("modify", "policy-violation"),
    "from_required": ("modify", "not-acceptable"),
    "rate_limited": ("wait", "resource-constraint"),
}
_LONGEST_JID = 1100


def account_of(system_provider_id: uuid.UUID, jid: str) -> ImpAccount | None:
    """The account with that bare JID, if it may use the gateway."""
    found = accounts_on(system_provider_id).filter(imp_id__lower=bare(jid))
    return found.select_related("user").defer("password").first()


def take_texts(*, system_provider_id: uuid.UUID, texts: Sequence[Written]) -> list[Refusal | None]:
    """Queue texts in their order; for each what `take_text` says."""
    return [take_text(system_provider_id=system_provider_id, text=text) for text in texts]


def take_text(*, system_provider_id: uuid.UUID, text: Written) -> Refusal | None:
    """Queue a text as the user that the sender is; None when it is queued, also when it was already.

    The row that the stanza has become a message is written with the message: the same stanza again, whoever hears it,
    changes nothing.
    """
    account = account_of(system_provider_id, text.sender)
    if account is None:
        return NOT_LINKED
    known = TextFromXmpp.objects.filter(account=account, stanza_id=text.key).first() if text.key else None
    if known is not None:
        return None if _is_same(known, text) else USED_ID
    try:
        with transaction.atomic():
            _send(account, text)
    except IntegrityError:
        # Another worker took it at this moment: then it is there.
        if not TextFromXmpp.objects.filter(account=account, stanza_id=text.key).exists():
            raise
    except Problem as problem:
        if problem.afterwards is not None:
            problem.afterwards()
        return _refusal(problem)
    return None


def _send(account: ImpAccount, text: Written) -> None:
    number = _number_for(account.user, text.remote)
    message = send_message(user=account.user, number=number, to=text.remote, text=text.body)
    TextFromXmpp.objects.create(
        created_at=clock.now(),
        account=account,
        jid=text.sender if len(text.sender) <= _LONGEST_JID else bare(text.sender),
        remote=text.remote,
        stanza_id=text.key,
        wants_receipt=text.wants_receipt,
        message_id=message.pk,
    )


def _number_for(user: EndUser, remote: str) -> CpaasNumber:
    """The user's only number, or the one last used with that remote. Raises Problem `from_required`."""
    try:
        return choose_number(user=user, value=None)
    except Problem as problem:
        if problem.code != "from_required":
            raise
    usable = Conversation.objects.filter(number__user=user, remote=remote).exclude(number__status=NumberStatus.REMOVING)
    last = usable.order_by("-last_message_at").select_related("number__platform").first()
    if last is not None:
        return last.number
    raise Problem(
        "from_required",
        f"You have several numbers, and none was used with {remote} yet. Send the first text from the portal; "
        "answers from here then go out from the same number.",
    )


def _is_same(known: TextFromXmpp, text: Written) -> bool:
    """Clients that count their ids begin anew at times; of what was deleted nobody can tell."""
    stored = Message.objects.filter(pk=known.message_id).values_list("text", flat=True).first()
    return known.remote == text.remote and stored in (None, text.body)


def _refusal(problem: Problem) -> Refusal:
    type, condition = _CONDITIONS.get(problem.code, ("cancel", "not-allowed"))
    return Refusal(type, condition, problem.detail)  # type: ignore[arg-type]
