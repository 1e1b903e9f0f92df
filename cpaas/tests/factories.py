"""Rows of messaging for tests: platforms, numbers, conversations and messages whose counters agree."""

from __future__ import annotations

from datetime import timedelta

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from cpaas.models import (
    Attachment,
    Attempt,
    BlockedParty,
    Conversation,
    CpaasNumber,
    CpaasPlatform,
    MediaStream,
    Message,
    OptInEvidence,
    QueueEntry,
    Stop,
    StopEvidence,
    Ticket,
    WebhookEvent,
)
from portal.tests.factories import EndUserFactory, GroupFactory, SystemProviderFactory

CREDENTIALS = {
    "api_key": "test-api-key-0001",
    "api_secret": "test-api-secret-0002",
    "outbound_api_key": "test-outbound-key-0003",
    "inbound_api_key": "test-inbound-key-0004",
}


class CpaasPlatformFactory(DjangoModelFactory):
    """An Inteliquent platform; point `options` at a simulator when the carrier is to answer."""

    class Meta:
        model = CpaasPlatform

    system_provider = factory.SubFactory(SystemProviderFactory)
    carrier = "inteliquent"
    name = factory.Sequence(lambda n: f"Platform {n}")
    credentials = factory.LazyFunction(lambda: dict(CREDENTIALS))


class MediaStreamFactory(DjangoModelFactory):
    class Meta:
        model = MediaStream

    group = factory.SubFactory(GroupFactory)
    name = factory.Sequence(lambda n: f"Stream {n}")


class CpaasNumberFactory(DjangoModelFactory):
    """An enabled, accepted number of a user, or of `media_stream` when given."""

    class Meta:
        model = CpaasNumber

    number = factory.Sequence(lambda n: f"+1201{5550000 + n:07d}")
    media_stream = None
    user = factory.Maybe("media_stream", None, factory.SubFactory(EndUserFactory))
    group = factory.LazyAttribute(lambda number: (number.user or number.media_stream).group)
    platform = factory.SubFactory(
        CpaasPlatformFactory, system_provider=factory.SelfAttribute("..group.system_provider")
    )
    status = "enabled"
    opt_in_state = factory.LazyAttribute(lambda number: "not_required" if number.media_stream else "accepted")
    opt_in_at = factory.LazyAttribute(lambda number: timezone.now() if number.opt_in_state == "accepted" else None)


class ConversationFactory(DjangoModelFactory):
    """A conversation of a number; empty, so not shown, until it has a message."""

    class Meta:
        model = Conversation

    number = factory.SubFactory(CpaasNumberFactory)
    remote = factory.Sequence(lambda n: f"+1732{5550000 + n:07d}")
    user = factory.SelfAttribute("number.user")


class QueueEntryFactory(DjangoModelFactory):
    """A conversation that waits in its media stream's queue, or that `reserved_by` has."""

    class Meta:
        model = QueueEntry

    conversation = factory.SubFactory(ConversationFactory, number__media_stream=factory.SubFactory(MediaStreamFactory))
    media_stream = factory.SelfAttribute("conversation.number.media_stream")
    waiting_since = factory.LazyFunction(timezone.now)
    reserved_by = None
    state = factory.LazyAttribute(lambda entry: "reserved" if entry.reserved_by else "waiting")


class MessageFactory(DjangoModelFactory):
    """A text of `conversation`, outbound and delivered unless said otherwise; the conversation's counters follow."""

    class Meta:
        model = Message
        skip_postgeneration_save = True

    conversation = factory.SubFactory(ConversationFactory)
    number = factory.SelfAttribute("conversation.number")
    user = factory.SelfAttribute("conversation.user")
    remote = factory.SelfAttribute("conversation.remote")
    direction = "out"
    status = factory.LazyAttribute(lambda message: "received" if message.direction == "in" else "delivered")
    text = factory.Sequence(lambda n: f"Text {n}")
    characters = factory.LazyAttribute(lambda message: len(message.text))
    sid = factory.Sequence(lambda n: f"sid-{n}")
    position = factory.LazyAttribute(lambda message: message.conversation.last_position + 1)
    created_at = factory.LazyFunction(timezone.now)
    sent_at = factory.LazyAttribute(
        lambda message: message.created_at if message.status in ("sent", "delivered", "undelivered") else None
    )

    @factory.post_generation
    def counters(self, create: bool, extracted: object, **kwargs: object) -> None:
        conversation = self.conversation
        conversation.last_position = max(conversation.last_position, self.position)
        conversation.message_count += 1
        if self.status not in ("held", "suppressed", "blocked"):
            conversation.last_message_at = self.created_at
            if self.direction == "in":
                conversation.last_received_at = self.created_at
                conversation.new_count += 1
        conversation.save()


class AttemptFactory(DjangoModelFactory):
    """The attempt an outbound message was sent by."""

    class Meta:
        model = Attempt

    message = factory.SubFactory(MessageFactory)
    conversation = factory.SelfAttribute("message.conversation")
    platform = factory.SelfAttribute("message.number.platform")
    position = factory.SelfAttribute("message.position")
    status = factory.SelfAttribute("message.status")
    sid = factory.SelfAttribute("message.sid")
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(hours=4))


class AttachmentFactory(DjangoModelFactory):
    """A picture that `message` has, or with `message=None` one that `user` has uploaded. There is no file."""

    class Meta:
        model = Attachment

    message = factory.SubFactory(MessageFactory, file_count=1)
    number = factory.LazyAttribute(lambda file: file.message and file.message.number)
    user = factory.LazyAttribute(lambda file: file.message and file.message.user)
    state = factory.LazyAttribute(lambda file: "stored" if file.message else "unused")
    name = "photo.jpg"
    content_type = "image/jpeg"
    size = 20_000
    sent_as = factory.LazyAttribute(lambda file: "mms" if file.message else "")
    tries = 1


class OptInEvidenceFactory(DjangoModelFactory):
    """One answer of a number's user."""

    class Meta:
        model = OptInEvidence

    class Params:
        number = factory.SubFactory(CpaasNumberFactory)

    number_id = factory.SelfAttribute("number.pk")
    tn = factory.SelfAttribute("number.number")
    cycle = factory.SelfAttribute("number.opt_in_cycle")
    answer = "yes"
    user_id = factory.SelfAttribute("number.user_id")
    user_name = factory.SelfAttribute("number.user.name")
    user_login = factory.SelfAttribute("number.user.login")
    actor_kind = "user"
    actor_id = factory.SelfAttribute("number.user_id")
    actor_name = factory.SelfAttribute("number.user.login")
    prompt_text = "Do you want to use text messaging with this number?"
    system_provider_id = factory.SelfAttribute("number.system_provider_id")
    reseller_id = factory.SelfAttribute("number.reseller_id")
    group_id = factory.SelfAttribute("number.group_id")


class TicketFactory(DjangoModelFactory):
    """An open ticket about a number."""

    class Meta:
        model = Ticket

    class Params:
        number = factory.SubFactory(CpaasNumberFactory)

    number_id = factory.SelfAttribute("number.pk")
    tn = factory.SelfAttribute("number.number")
    subject = factory.Sequence(lambda n: f"Ticket {n}")
    text = "Nothing arrives."
    to = "carrier"
    raised_by = "somebody"
    system_provider_id = factory.SelfAttribute("number.system_provider_id")
    reseller_id = factory.SelfAttribute("number.reseller_id")
    group_id = factory.SelfAttribute("number.group_id")


class BlockedPartyFactory(DjangoModelFactory):
    """A party that the number's user has blocked; it counts only while the number may block."""

    class Meta:
        model = BlockedParty

    number = factory.SubFactory(CpaasNumberFactory)
    remote = factory.Sequence(lambda n: f"+1732{6660000 + n:07d}")
    user = factory.SelfAttribute("number.user")


class StopEvidenceFactory(DjangoModelFactory):
    """One STOP of a remote party to `number`."""

    class Meta:
        model = StopEvidence

    class Params:
        number = factory.SubFactory(CpaasNumberFactory)

    number_id = factory.SelfAttribute("number.pk")
    tn = factory.SelfAttribute("number.number")
    remote = factory.Sequence(lambda n: f"+1732{7770000 + n:07d}")
    stopped = True
    keyword = "STOP"
    system_provider_id = factory.SelfAttribute("number.system_provider_id")
    reseller_id = factory.SelfAttribute("number.reseller_id")
    group_id = factory.SelfAttribute("number.group_id")


class DeadLetterFactory(DjangoModelFactory):
    """A call with a text to no number of ours."""

    class Meta:
        model = WebhookEvent

    platform = factory.SubFactory(CpaasPlatformFactory)
    nonce = factory.Sequence(lambda n: f"dead-{n}")
    body_digest = "0" * 64
    body = b"{}"
    sid = factory.Sequence(lambda n: f"dead-{n}")
    state = "unassigned"
    sender = "+17036089795"
    recipient = factory.Sequence(lambda n: f"+1201{5559000 + n:07d}")
    text = "Anybody there?"


class StopFactory(StopEvidenceFactory):
    """A pair that is stopped now."""

    class Meta:
        model = Stop
        exclude = ("number_id",)

    at = factory.LazyFunction(timezone.now)
