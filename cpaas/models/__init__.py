from cpaas.models.assignments import NumberAssignment
from cpaas.models.attachments import Attachment
from cpaas.models.blocking import BlockedParty
from cpaas.models.consent import OptInEvidence
from cpaas.models.conversations import Conversation
from cpaas.models.exchanges import Exchange
from cpaas.models.imports import NumberImport, NumberImportLine
from cpaas.models.media_streams import MediaStream
from cpaas.models.messages import Attempt, Message
from cpaas.models.numbers import CpaasNumber, NumberPace
from cpaas.models.parts import AttemptPart
from cpaas.models.platforms import CpaasPlatform
from cpaas.models.queue import AgentPresence, AgentTurn, QueueEntry, QueueOffer
from cpaas.models.stops import Stop, StopEvidence
from cpaas.models.tickets import Ticket, TicketNote
from cpaas.models.traffic import TrafficHour
from cpaas.models.usage import SegmentUsage
from cpaas.models.webhook_events import ParkedReceipt, WebhookEvent

__all__ = [
    "AgentPresence",
    "AgentTurn",
    "Attachment",
    "Attempt",
    "AttemptPart",
    "BlockedParty",
    "Conversation",
    "CpaasNumber",
    "CpaasPlatform",
    "Exchange",
    "MediaStream",
    "Message",
    "NumberAssignment",
    "NumberImport",
    "NumberImportLine",
    "NumberPace",
    "OptInEvidence",
    "ParkedReceipt",
    "QueueEntry",
    "QueueOffer",
    "SegmentUsage",
    "Stop",
    "StopEvidence",
    "Ticket",
    "TicketNote",
    "TrafficHour",
    "WebhookEvent",
]
