"""The mail sink: takes every mail, shows what came, or plays a mail server in trouble."""

from __future__ import annotations

import email
import email.policy
import weakref
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox.ports import Port
from sandbox.store import Journal, iso, now

MAX_MAIL_BYTES = 33_554_432
STATES = ("up", "refusing", "rejecting")


@dataclass(slots=True)
class Mail:
    """A mail as the sink took it; sender and recipients are those of the envelope."""

    sender: str
    to: list[str]
    subject: str
    text: str
    html: str
    at: datetime = field(default_factory=now)

    def as_json(self) -> dict[str, Any]:
        return {
            "at": iso(self.at),
            "from": self.sender,
            "to": self.to,
            "subject": self.subject,
            "text": self.text,
            "html": self.html,
        }


class MailSink:
    """An SMTP server without authentication; `rejecting` = it answers 550 to every recipient."""

    def __init__(self, port: int) -> None:
        self.state = "up"
        self.mails: Journal[Mail] = Journal()
        self._connections: weakref.WeakSet[SMTP] = weakref.WeakSet()
        self.port = Port(port, self._protocol, lambda: self._connections)

    async def set_state(self, state: str) -> None:
        self.state = state
        if state == "refusing":
            await self.port.close()
        else:
            await self.port.open()

    async def reset(self) -> None:
        self.mails = Journal()
        await self.set_state("up")

    def _protocol(self) -> SMTP:
        connection = SMTP(self, hostname="sandbox", data_size_limit=MAX_MAIL_BYTES, enable_SMTPUTF8=True)
        self._connections.add(connection)
        return connection

    async def handle_RCPT(  # noqa: N802 - the name aiosmtpd looks for
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.state == "rejecting":
            return "550 5.1.1 The mail sink rejects every recipient now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content or b""
        parsed = email.message_from_bytes(
            content if isinstance(content, bytes) else content.encode(), policy=email.policy.default
        )
        self.mails.add(
            Mail(
                sender=envelope.mail_from or "",
                to=[str(address) for address in envelope.rcpt_tos],
                subject=str(parsed.get("Subject", "")),
                text=_part(parsed, "plain"),
                html=_part(parsed, "html"),
            )
        )
        return "250 OK"


def _part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    return str(body.get_content()) if body is not None else ""
