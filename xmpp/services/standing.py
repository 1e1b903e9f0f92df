"""How the session of an account stands, as far as anybody can know (S0.13)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Mod

from xmpp.models import ImpAccount
from xmpp.services.members import abandoned_shards
from xmpp.shards import shard_of
from xmpp.states import LIVE, AccountStatus

NOBODY = "No XMPP bridge is running."


@dataclass(frozen=True)
class Standing:
    """The status, and why it is so in words."""

    status: AccountStatus
    reason: str


def standing_of(account: ImpAccount, abandoned: Collection[int]) -> Standing:
    """What the account's bridge said last, unless nobody keeps the session any more: a bridge that is killed does not
    say that it has ended. `abandoned` is from `abandoned_shards`."""
    status = AccountStatus(account.status)
    if status in LIVE and shard_of(account.slot) in abandoned:
        return Standing(AccountStatus.OFFLINE, NOBODY)
    return Standing(status, account.status_reason)


def standing_so(accounts: QuerySet[ImpAccount], status: AccountStatus) -> QuerySet[ImpAccount]:
    """Those of `accounts` whose standing is `status`."""
    abandoned, said = abandoned_shards(), Q(status=status)
    if not abandoned or status not in (*LIVE, AccountStatus.OFFLINE):
        return accounts.filter(said)
    of_nobody = Q(shard__in=abandoned)
    condition = said & ~of_nobody if status in LIVE else said | (Q(status__in=LIVE) & of_nobody)
    return accounts.alias(shard=Mod(F("slot"), settings.XMPP_SHARDS)).filter(condition)
