"""What both transports do with a command before it leaves, and with what came back for it."""

from __future__ import annotations

from xmpp.broadworks.documents import Answer, Command, write_document
from xmpp.broadworks.errors import Refused

_LONGEST_DETAIL = 300


def document_of(session_id: str, command: Command) -> bytes:
    """The command as it is sent. Raises Refused for a value that XML cannot hold: nothing is sent then."""
    try:
        return write_document(session_id, command)
    except ValueError as error:
        raise Refused(
            f"{command.name} was not sent: a value has characters that XML cannot hold.", "illegal"
        ) from error


def require_answer(command: Command, answer: Answer) -> Answer:
    """The answer, unless it is an ErrorResponse. Raises Refused with BroadWorks' sentence, secrets taken out first:
    of one that is cut in two, half would be left."""
    if answer.is_error:
        detail, code = answer.error
        raise Refused(command.without_secrets(detail)[:_LONGEST_DETAIL], code)
    return answer
