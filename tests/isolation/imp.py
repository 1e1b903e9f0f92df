"""What a party has of IM&P: a connection to BroadWorks, an SMS gateway, accounts, conversations, subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

from portal.events import publish
from portal.models import EndUser, SystemProvider
from xmpp.models import ImChatState, ImConversation, ImMessage, ImParticipant, ImReceiver, SmsGateway, Subscription
from xmpp.states import GatewayStatus, PasswordState
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory

if TYPE_CHECKING:
    from tests.isolation.world import Party


def add_connection(party: Party) -> None:
    """Nothing listens there: a test that gets so far is told at once."""
    mark = party.mark
    party.add(
        BroadworksConnectionFactory(
            system_provider=party.rows[SystemProvider][0],
            host="127.0.0.1",
            port=9,
            username=f"{mark} admin",
            password=f"{mark}-broadworks-password",
            imp_domain=f"im.{mark.lower()}.example",
            status="failed",
            status_detail=f"{mark} says no",
        )
    )
    party.add(
        SmsGateway.objects.create(
            system_provider=party.rows[SystemProvider][0],
            domain=f"sms.{mark.lower()}.example",
            host="127.0.0.1",
            port=9,
            secret=f"{mark}-gateway-secret",
            status=GatewayStatus.REFUSED,
            status_detail=f"{mark} says no",
        )
    )


def add_accounts(party: Party) -> None:
    """Both people of the party have the service, write to each other, and watch somebody outside."""
    mark = party.mark.lower()
    first, second = party.rows[EndUser][:2]
    for user in (first, second):
        jid = f"{user.login.partition('@')[0]}@im.{mark}.example"
        party.add(
            ImpAccountFactory(
                user=user,
                imp_id=jid,
                password=f"{party.mark}-imp-password-{user.name}",
                password_state=PasswordState.SET,
                status_reason=f"{party.mark} says so",
            )
        )
        for state in ("accepted", "pending"):
            jid = f"{state}@{mark}.example"
            party.add(Subscription.objects.create(user=user, jid=jid, direction="in", state=state))
    watching = party.add(Subscription.objects.create(user=first, jid=jid, peer=second, direction="out"))
    publish(first.pk, "xmpp.updated", first.pk)
    publish(first.pk, "subscription.updated", watching.pk)
    for n in range(2):
        _conversation(party, n)
    _conversation(party, 2, is_group=True)


def _conversation(party: Party, n: int, *, is_group: bool = False) -> None:
    conversation = party.add(ImConversation.objects.create(key=f"{party.mark} {n}", is_group=is_group))
    first, second = party.rows[EndUser][:2]
    publish(first.pk, "im_conversation.updated", conversation.pk)
    for user in (first, second):
        place = ImParticipant(conversation=conversation, user=user, last_message_at=timezone.now())
        place.save()
        party.add(place)
    if not is_group:
        ImChatState.objects.create(participant=place, composing_at=timezone.now())
    for text in ("whispers", "answers"):
        message = party.add(
            ImMessage.objects.create(
                conversation=conversation, sender=second, text=f"{party.mark} {text}", origin_id=f"{party.mark} {text}"
            )
        )
        publish(first.pk, "im.created", message.pk)
        if is_group:
            party.add(ImReceiver.objects.create(message=message, user=first))
