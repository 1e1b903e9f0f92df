"""What Restcomm and Twilio have in common: addresses at their numbers, receipts to an address of each text."""

from __future__ import annotations

from sandbox.calls import Inbound
from sandbox.carrier import Carrier
from sandbox.incoming_numbers import IncomingNumbers
from sandbox.store import Hook, Message


class FormCarrier(Carrier):
    """A carrier that takes and posts forms."""

    def clear(self) -> None:
        super().clear()
        self.written = IncomingNumbers(self.numbers)

    def hooks(self) -> list[Hook]:
        return self.written.hooks()

    def hook_for(self, tn: str) -> Hook | None:
        return self.written.hook_for(tn)

    def receipt_hook(self, message: Message, word: str) -> Hook | None:
        return Hook(message.sid, message.sender, message.status_url) if message.status_url else None

    def copies_of(self, inbound: Inbound) -> list[tuple[Hook, Inbound]]:
        return self.one_copy_each(inbound)
