from xmpp.models.accounts import ImpAccount
from xmpp.models.connections import BroadworksConnection, SmsGateway
from xmpp.models.im import ArchivedStanza, ImConversation, ImMessage, ImParticipant, XmppDelivery
from xmpp.models.subscriptions import Subscription

__all__ = [
    "ArchivedStanza",
    "BroadworksConnection",
    "ImConversation",
    "ImMessage",
    "ImParticipant",
    "ImpAccount",
    "SmsGateway",
    "Subscription",
    "XmppDelivery",
]
