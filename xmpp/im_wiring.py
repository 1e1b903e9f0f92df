"""What instant messages and subscriptions plug into the portal: followers, event renderers, a presence source."""

from __future__ import annotations

import uuid
from typing import Any

from portal import extensions
from portal.events import Rendered, Wanted, register_live_source, register_renderer
from portal.models import EndUser, UserSettings
from presence.sources import register_source
from xmpp.api.im_objects import conversation_objects, message_objects
from xmpp.api.subscriptions import subscription_objects
from xmpp.live import LiveChatStates
from xmpp.models import ImParticipant, Subscription
from xmpp.presence_source import XmppPresence
from xmpp.services import retention
from xmpp.services.auto_subscribing import subscribe_of_user
from xmpp.services.seeing import messages_shown_to


def connect() -> None:
    register_source(XmppPresence())
    register_live_source(LiveChatStates())
    extensions.register_follower(EndUser, subscribe_of_user)
    extensions.register_follower(UserSettings, subscribe_of_user)
    extensions.purges.append(lambda as_of, dry_run: retention.purge(as_of=as_of, dry_run=dry_run).as_dict())
    register_renderer("im.created", render_messages)
    register_renderer("im.updated", render_messages)
    register_renderer("im_conversation.updated", render_conversations)
    register_renderer("subscription.requested", render_subscriptions)
    register_renderer("subscription.updated", render_subscriptions)


def render_messages(wanted: Wanted) -> Rendered:
    told = messages_shown_to(wanted).filter(pk__among=_ids(wanted))
    rows: list[Any] = list(told.select_related("sender"))
    shown = message_objects((row.seen_by, row) for row in rows)
    return {(row.seen_by, row.pk): found for row, found in zip(rows, shown, strict=True)}


def render_conversations(wanted: Wanted) -> Rendered:
    users = {user.pk: user for user in wanted}
    told = ImParticipant.objects.visible_to_users(wanted).filter(conversation__in=_ids(wanted))
    rows: list[Any] = list(told.filter(last_message_at__isnull=False).select_related("conversation"))
    shown = conversation_objects((users[row.seen_by], row) for row in rows)
    return {(row.seen_by, row.conversation_id): found for row, found in zip(rows, shown, strict=True)}


def render_subscriptions(wanted: Wanted) -> Rendered:
    told = Subscription.objects.visible_to_users(wanted).filter(pk__among=_ids(wanted))
    rows: list[Any] = list(told.select_related("peer"))
    shown = subscription_objects(rows)
    return {(row.seen_by, row.pk): found for row, found in zip(rows, shown, strict=True)}


def _ids(wanted: Wanted) -> list[uuid.UUID]:
    """The objects that somebody is told of."""
    return list({key for told in wanted.values() for key in told})
