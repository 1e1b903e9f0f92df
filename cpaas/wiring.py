"""What messaging plugs into the portal: guards, followers, event renderers, session parts (portal.extensions)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.signals import request_started

from cpaas import spool
from cpaas.api import objects
from cpaas.live_queue import LiveQueue
from cpaas.models import Conversation, CpaasNumber, CpaasPlatform, Message
from cpaas.services.agents import is_licensed_agent
from cpaas.services.assignments import follow_licence
from cpaas.services.conversations import holders_of, new_counts, numbers_of_users, tell_of_name
from cpaas.services.held import deliver_held_of_user
from cpaas.services.numbers import own_numbers
from cpaas.services.queueing import release_unless_agent
from cpaas.states import NumberStatus
from portal import extensions, health
from portal.events import Rendered, Wanted, register_live_source, register_renderer
from portal.models import EndUser, PortalAccount
from portal.problems import Problem, conflict
from portal.scoping import TenantQuerySet
from portal.services.accounts import alert_accounts


def connect() -> None:
    extensions.register_guard(PortalAccount, guard_last_alert_account)
    extensions.register_guard(EndUser, guard_user_with_numbers)
    extensions.register_follower(EndUser, deliver_held_of_user)
    extensions.register_follower(EndUser, follow_licence)
    extensions.register_follower(EndUser, release_unless_agent)
    extensions.session_contributors.append(session_part)
    extensions.number_holders.append(holders_of)
    extensions.assigned_numbers.append(numbers_of_users)
    extensions.name_followers.append(tell_of_name)
    register_renderer("message.created", render_messages)
    register_renderer("message.updated", render_messages)
    register_renderer("conversation.updated", render_conversations)
    register_renderer("number.updated", render_numbers)
    register_live_source(LiveQueue())
    health.gauges += [spool.count_waiting, spool.count_set_aside]
    request_started.connect(drain_what_an_earlier_process_left)


def drain_what_an_earlier_process_left(**_: Any) -> None:
    """With the first request of a web process, a health probe at the latest (R37)."""
    request_started.disconnect(drain_what_an_earlier_process_left)
    spool.start_draining()


def guard_last_alert_account(account: PortalAccount, change: extensions.Change) -> Problem | None:
    """A tenant with a platform keeps at least one account that gets alerts (S4.21, R10).

    `account.left_tenant_id` is the tenant it belonged to before this change, which the service holds locked.
    """
    system_provider_id = account.left_tenant_id
    if system_provider_id is None or not CpaasPlatform.objects.of_tenant(system_provider_id).exists():
        return None
    if any(other.pk != account.pk or change == "update" for other in alert_accounts(system_provider_id)):
        return None
    return conflict(
        "last_alert_account",
        "A CPaaS platform exists, so at least one active account of the system provider must have Send Alerts "
        "enabled. Enable it for another account first.",
    )


def guard_user_with_numbers(user: EndUser, change: extensions.Change) -> Problem | None:
    """A user with a number is not deleted; the numbers are named (contracts, users)."""
    if change != "delete":
        return None
    numbers = [number.display for number in CpaasNumber.objects.filter(user=user)[:5]]
    if not numbers:
        return None
    return conflict("in_use", f"{user.name} still has {', '.join(numbers)}. Delete these numbers first.")


def session_part(user: EndUser) -> dict[str, Any]:
    """What messaging adds to `GET session/`: the enabled numbers with their prompts (S1.1, S1.3) and what is new."""
    numbers = own_numbers(user).select_related("platform__system_provider", "user").order_by("id")
    shown = [objects.number_object(number) for number in numbers]
    features = {"sms": bool(shown) and user.is_licensed, "contact_centre": is_licensed_agent(user)}
    return {"numbers": shown, "new": new_counts(user), "features": features}


def render_messages(wanted: Wanted) -> Rendered:
    # As plain rows, which cost a third of models: these are the most frequent events.
    told = _told(Message.objects.filter(status__in=objects.SHOWN_STATUSES), wanted)
    rows = list(told.values_list(*objects.MESSAGE_COLUMNS, "seen_by", named=True))
    return _by_ids(rows, objects.message_objects(rows))


def render_conversations(wanted: Wanted) -> Rendered:
    users = {user.pk: user for user in wanted}
    rows = list(_told(Conversation.objects.all(), wanted))
    return _by_ids(rows, objects.conversation_objects([(users[row.seen_by], row) for row in rows]))


def render_numbers(wanted: Wanted) -> Rendered:
    numbers = CpaasNumber.objects.exclude(status=NumberStatus.REMOVING)
    rows = list(_told(numbers.select_related("platform__system_provider", "user"), wanted))
    return _by_ids(rows, [objects.number_object(number) for number in rows])


def _told(rows: TenantQuerySet[Any], wanted: Wanted) -> TenantQuerySet[Any]:
    """The rows that somebody is told of and may see."""
    ids = {key for told in wanted.values() for key in told}
    return rows.visible_to_users(wanted).filter(pk__among=ids)


def _by_ids(rows: Sequence[Any], rendered: Sequence[dict[str, Any]]) -> Rendered:
    return {(row.seen_by, row.id): shown for row, shown in zip(rows, rendered, strict=True)}
