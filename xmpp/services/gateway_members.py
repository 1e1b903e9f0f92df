"""Whose texts the SMS gateway passes on: every user of the system provider with an XMPP account that is on."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from cpaas.models import Conversation
from portal import clock
from xmpp.models import GatewayMember, GatewayThread, ImpAccount

# Made members in one transaction: each may have thousands of conversations.
_TOGETHER = 50
_IS_ON = Q(assigned=True, enabled=True, user__is_active=True) & ~Q(imp_id="")


def accounts_on(system_provider_id: uuid.UUID) -> QuerySet[ImpAccount]:
    """The accounts that may text through the gateway of the system provider."""
    return ImpAccount.objects.filter(_IS_ON, system_provider_id=system_provider_id)


def settle_members(system_provider_id: uuid.UUID) -> set[uuid.UUID]:
    """Take in whose account went on, and forget whose went off; returns all members' ids.

    What a conversation holds by then is not passed on: it was read elsewhere.
    """
    on = accounts_on(system_provider_id)
    members = GatewayMember.objects.filter(account__system_provider_id=system_provider_id)
    members.exclude(account__in=on).delete()
    known = GatewayMember.objects.filter(pk=OuterRef("pk"))
    fresh = list(on.filter(~Exists(known)).values_list("pk", flat=True))
    for start in range(0, len(fresh), _TOGETHER):
        _add(fresh[start : start + _TOGETHER])
    return set(members.values_list("pk", flat=True))


def forget_members(system_provider_id: uuid.UUID) -> None:
    """The gateway is off."""
    GatewayMember.objects.filter(account__system_provider_id=system_provider_id).delete()


def _add(user_ids: list[uuid.UUID]) -> None:
    with transaction.atomic():
        now = clock.now()
        members = [GatewayMember(account_id=user_id, since=now) for user_id in user_ids]
        GatewayMember.objects.bulk_create(members, ignore_conflicts=True)
        found = Conversation.objects.filter(user_id__in=user_ids, number__user_id__in=user_ids)
        rows = found.values_list("pk", "user_id", "last_position")
        threads = [GatewayThread(conversation_id=key, member_id=user, position=last) for key, user, last in rows]
        GatewayThread.objects.bulk_create(threads, ignore_conflicts=True, batch_size=500)
