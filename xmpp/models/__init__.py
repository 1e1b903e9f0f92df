from xmpp.models.accounts import ImpAccount
from xmpp.models.connections import BroadworksConnection, SmsGateway
from xmpp.models.gateway import GatewayMember, GatewayThread, TextFromXmpp, TextToXmpp
from xmpp.models.im import (
    ArchivedStanza,
    ImChatState,
    ImConversation,
    ImMessage,
    ImParticipant,
    ImReceiver,
    XmppDelivery,
)
from xmpp.models.subscriptions import Subscription

__all__ = [
    "ArchivedStanza",
    "BroadworksConnection",
    "GatewayMember",
    "GatewayThread",
    "ImChatState",
    "ImConversation",
    "ImMessage",
    "ImParticipant",
    "ImReceiver",
    "ImpAccount",
    "SmsGateway",
    "Subscription",
    "TextFromXmpp",
    "TextToXmpp",
    "XmppDelivery",
]
