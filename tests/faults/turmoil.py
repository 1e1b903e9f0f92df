"""Everything messaging does, done at once by many threads to the same few numbers, until told to stop.

The carrier is played by the dispatcher threads themselves: they claim texts, make up answers of every kind and store
them, so that no time is spent on a wire.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from cpaas.carriers.base import Doubtful, InboundText, NotTaken, Receipt, Refused, Sent, WebhookEvent, WebhookRequest
from cpaas.models import Attempt, Conversation, CpaasNumber, CpaasPlatform, Message
from cpaas.services import numbers, retention, sweeping, vigil
from cpaas.services.claiming import Claimed
from cpaas.services.conversations import mark_read
from cpaas.services.opt_in import record_opt_in, reset_opt_in
from cpaas.services.receipts import settle_parked
from cpaas.services.sending import resend_message, send_message
from cpaas.services.settling import Outcome, store_outcomes
from cpaas.services.webhook_intake import take_in
from cpaas.states import RESENDABLE
from cpaas.tests.running import claim_texts
from portal.models import EndUser
from portal.problems import Problem
from portal.services.users import update_user

REMOTES = [f"+1703608{n:04d}" for n in range(4)]
RECEIPTS = ["sent", "delivered", "undelivered", "failed"]
# So old are texts that the purge takes.
OLD = timedelta(seconds=2)


class Turmoil:
    """`rush(seconds)` lets all actors loose. Afterwards `errors` holds what reached a caller, `doubled` what was sent
    twice."""

    def __init__(self, platform: CpaasPlatform, users: list[EndUser], tns: list[str]) -> None:
        self.platform, self.users, self.tns = platform, users, tns
        self.errors: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.doubled: list[uuid.UUID] = []
        self._sids: list[str] = []
        self._over: set[uuid.UUID] = set()
        self._lock = threading.Lock()
        self._calm = threading.Event()

    def rush(self, seconds: float) -> None:
        actors: list[Callable[[], None]] = [self.send, self.send, self.dispatch, self.dispatch, self.text_us]
        actors += [self.text_us, self.tell_fate, self.read, self.resend, self.keep_house, self.consent]
        actors += [self.edit_user, self.clear_number, self.replace_number, self.purge, self.purge]
        threads = [threading.Thread(target=self._act, args=(actor,)) for actor in actors]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._calm.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)

    def _act(self, actor: Callable[[], None]) -> None:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # A deadlock shall not cost the rest of the rush.
                cursor.execute("SET deadlock_timeout = '50ms'")
        while not self._calm.is_set():
            try:
                actor()
                self.done[actor.__name__] += 1
            except Problem:
                continue
            except Exception as error:
                with self._lock:
                    self.errors[f"{actor.__name__}: {type(error).__name__}: {error}"[:500]] += 1
        connection.close()

    def send(self) -> None:
        number = self._number()
        if number is not None and number.user is not None:
            send_message(user=number.user, number=number, to=random.choice(REMOTES), text="Hello")

    def dispatch(self) -> None:
        claimed = claim_texts(8, uuid.uuid4())
        for text in claimed:
            self._note_sending(text)
        store_outcomes([Outcome(text, self._answer(text)) for text in claimed]) if claimed else time.sleep(0.01)

    def text_us(self) -> None:
        recipients = tuple(random.sample(self.tns, random.choice([1, 1, 1, 2, 3])))
        text = InboundText(str(random.randrange(10**6)), random.choice(REMOTES), recipients, "Hi")
        for _ in range(random.choice([1, 2])):
            self._call(text)

    def tell_fate(self) -> None:
        with self._lock:
            sid = random.choice(self._sids[-50:]) if self._sids else ""
        if sid:
            self._call(Receipt(sid, random.choice(RECEIPTS), "WORD"))

    def read(self) -> None:
        message = self._any(Message.objects.filter(direction="in", status="received"))
        if message is not None and message.user is not None:
            mark_read(user=message.user, conversation=message.conversation, up_to=message)

    def resend(self) -> None:
        message = self._any(Message.objects.filter(direction="out", status__in=RESENDABLE))
        if message is not None and message.user is not None:
            resend_message(user=message.user, message=message)

    def keep_house(self) -> None:
        sweeping.expire_due()
        vigil.abandon_texts_of_the_dead()
        settle_parked()
        sweeping.mark_unreachable(self.platform.pk)
        sweeping.mark_reachable(self.platform.pk)
        time.sleep(0.02)

    def consent(self) -> None:
        number = self._number()
        if number is not None and number.user is not None:
            reset_opt_in(actor=None, number=number)
            time.sleep(0.01)
            record_opt_in(user=number.user, number=number, answer="yes")

    def edit_user(self) -> None:
        user = random.choice(self.users)
        for licence in ("none", "desktop"):
            update_user(actor=None, user=user, changes={"licence": licence, "name": f"Name {random.random()}"})
            time.sleep(0.01)

    def clear_number(self) -> None:
        number = self._number()
        if number is not None:
            numbers.delete_messages(actor=None, number=number)
        time.sleep(0.05)

    def replace_number(self) -> None:
        """Delete a number and, once its removal is done, have it again: what assign_number does after its call."""
        number = self._number()
        if number is not None and number.user is not None:
            numbers.delete_number(actor=None, number=number)
            user, tn = number.user, number.number
            fresh = CpaasNumber(number=tn, user=user, platform=self.platform, status="enabled", group=user.group)
            fresh.opt_in_state = "accepted"
            fresh.reseller_id, fresh.system_provider_id = user.reseller_id, user.system_provider_id
            numbers.insert_number(None, fresh)
        time.sleep(0.2)

    def purge(self) -> None:
        retention.purge(as_of=timezone.now() + timedelta(days=settings.RETENTION_DAYS) - OLD, batch=20)
        time.sleep(0.05)

    def send_what_waits(self) -> None:
        """Run the queue empty."""
        deadline = time.monotonic() + 30
        while Attempt.objects.filter(status__in=["queued", "sending"]).exists():
            assert time.monotonic() < deadline, "texts wait that no dispatcher looks at"
            Conversation.objects.filter(outbox_at__isnull=False).update(outbox_at=timezone.now())
            claimed = claim_texts(100, uuid.uuid4())
            for text in claimed:
                self._note_sending(text)
            if claimed:
                store_outcomes([Outcome(text, Sent(str(uuid.uuid4()))) for text in claimed])

    def _call(self, event: WebhookEvent) -> None:
        request = WebhookRequest({}, b"{}", "application/json")
        take_in(platform_id=self.platform.pk, nonce=str(uuid.uuid4()), request=request, events=[event])

    def _note_sending(self, text: Claimed) -> None:
        with self._lock:
            if text.attempt_id in self._over:
                self.doubled.append(text.attempt_id)
            self._over.add(text.attempt_id)

    def _answer(self, text: Claimed) -> Sent | NotTaken | Doubtful | Refused:
        answer = random.choice([Sent(str(uuid.uuid4()))] * 6 + [NotTaken("no"), Doubtful("?"), Refused("bad", "408")])
        with self._lock:
            if isinstance(answer, Sent):
                self._sids.append(answer.sid)
            if isinstance(answer, NotTaken):
                self._over.discard(text.attempt_id)
        return answer

    def _number(self) -> CpaasNumber | None:
        rows = CpaasNumber.objects.select_related("user__group", "platform__system_provider")
        return rows.filter(number=random.choice(self.tns)).exclude(status="removing").first()

    def _any(self, messages: object) -> Message | None:
        rows = list(messages.select_related("user", "conversation")[:20])  # type: ignore[attr-defined]
        return random.choice(rows) if rows else None
