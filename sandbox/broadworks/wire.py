"""BroadsoftDocument XML and its SOAP envelope, as BroadWorks reads and writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

END = b"</BroadsoftDocument>"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_OPENING = (
    '<?xml version="1.0" encoding="ISO-8859-1"?>\n<BroadsoftDocument protocol="OCI" xmlns="C"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
)
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    '<soapenv:Body><processOCIMessageResponse><ns1:processOCIMessageReturn xmlns:ns1="urn:com:broadsoft:webservice">{}'
    "</ns1:processOCIMessageReturn></processOCIMessageResponse></soapenv:Body></soapenv:Envelope>"
)


class OciError(Exception):
    """What BroadWorks answers instead: `[Error <code>] <summary>`."""

    def __init__(self, code: str, summary: str) -> None:
        super().__init__(summary)
        self.code = code
        self.summary = summary


@dataclass(frozen=True)
class Request:
    """A command as it came: its name, and the texts of its elements."""

    session_id: str
    name: str
    fields: Mapping[str, str]

    @property
    def user_id(self) -> str:
        return self.fields.get("userId", "")

    def flag(self, name: str) -> bool:
        return self.fields.get(name) == "true"


@dataclass(frozen=True)
class Table:
    """An OCI table: headings and rows."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Response:
    """An answer: its type and its elements; a mapping nests, None leaves out."""

    name: str = "c:SuccessResponse"
    fields: Mapping[str, Any] | None = None


def read_request(document: bytes) -> Request:
    """Raises ValueError."""
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - what clients of a simulator on this machine write
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"This is no XML: {error}") from None
    command = next((child for child in root if _local(child.tag) == "command"), None)
    if command is None:
        raise ValueError("The document holds no command.")
    session_id = next((child.text or "" for child in root if _local(child.tag) == "sessionId"), "")
    fields = {_local(element.tag): element.text or "" for element in command.iter() if element is not command}
    return Request(session_id, (command.get(_TYPE) or "").rpartition(":")[2], fields)


def write_response(session_id: str, response: Response) -> bytes:
    prefix = ' xmlns:c="C"' if response.name.startswith("c:") else ""
    kind = ' type="Error"' if response.name == "c:ErrorResponse" else ""
    text = (
        f'{_OPENING}<sessionId xmlns="">{escape(session_id)}</sessionId><command{kind} echo="" '
        f'xsi:type={quoteattr(response.name)}{prefix} xmlns="">{_elements(response.fields or {})}</command>'
        "</BroadsoftDocument>\n"
    )
    return text.encode("iso-8859-1", "xmlcharrefreplace")


def error_response(error: OciError) -> Response:
    summary = f"[Error {error.code}] {error.summary}"
    return Response("c:ErrorResponse", {"summary": summary, "summaryEnglish": summary})


def read_envelope(body: bytes) -> bytes:
    """The document inside `processOCIMessage`. Raises ValueError."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"The body is no XML: {error}") from None
    call = next((element for element in root.iter() if _local(element.tag) == "processOCIMessage"), None)
    if call is None or len(call) == 0:
        raise ValueError("The envelope holds no processOCIMessage.")
    return (call[0].text or "").strip().encode("iso-8859-1", "xmlcharrefreplace")


def write_envelope(document: bytes) -> str:
    return _ENVELOPE.format(escape(document.decode("iso-8859-1")))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _elements(fields: Mapping[str, Any]) -> str:
    return "".join(f"<{name}>{_content(value)}</{name}>" for name, value in fields.items() if value is not None)


def _content(value: Any) -> str:
    if isinstance(value, Table):
        headings = "".join(f"<colHeading>{escape(heading)}</colHeading>" for heading in value.headings)
        rows = ("".join(f"<col>{escape(column)}</col>" for column in row) for row in value.rows)
        return headings + "".join(f"<row>{row}</row>" for row in rows)
    if isinstance(value, Mapping):
        return _elements(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))
