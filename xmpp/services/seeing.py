"""Which messages of a conversation a user may see: one rule for lists, events and counts (S0.3, S0.34)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from portal.events import Viewer
from portal.models import EndUser
from portal.scoping import TenantQuerySet
from xmpp.models import ImMessage, ImParticipant, ImReceiver


def shown_messages(user: EndUser) -> TenantQuerySet[ImMessage]:
    """The messages of the user's conversations that the user may see."""
    return ImMessage.objects.visible_to(user).filter(_seen_by(user.pk, user.pk))


def messages_shown_to(users: Iterable[Viewer]) -> TenantQuerySet[ImMessage]:
    """What each of several users may see, in one query; `seen_by` is the id of the user who sees a row."""
    return ImMessage.objects.visible_to_users(users).filter(_seen_by(F("seen_by"), OuterRef("seen_by")))


def newest_shown() -> QuerySet[ImMessage]:
    """Subquery: the newest message that the user of the outer ImParticipant may see."""
    user = OuterRef("user_id")
    of_conversation = ImMessage.objects.filter(_seen_by(user, OuterRef(user)), conversation=OuterRef("conversation_id"))
    return of_conversation.order_by("-pk")


def last_messages(rows: Iterable[ImParticipant]) -> dict[Any, ImMessage]:
    """The newest message that the user of each of these rows may see, by the row's id: the end of an index range each,
    however long the conversation."""
    ids = ImParticipant.objects.filter(pk__among=[row.pk for row in rows]).annotate(
        last=newest_shown().values("pk")[:1]
    )
    found = dict(ids.values_list("pk", "last"))
    messages = ImMessage.objects.select_related("sender").in_bulk({key for key in found.values() if key})
    return {row_id: messages[key] for row_id, key in found.items() if key in messages}


def _seen_by(user: Any, user_from_inside: Any) -> Q:
    """A condition on messages: what our users write with priority *XMPP only* is theirs alone, and of a group's
    messages a member has those that came while the member was online. `user_from_inside` is the same for a subquery."""
    received = ImReceiver.objects.filter(message=OuterRef("pk"), user=user_from_inside)
    return Q(sender=user) | Q(only_sender=False, conversation__is_group=False) | Q(Exists(received))
