"""BroadsoftDocument XML: commands to bytes, bytes to answers. ISO-8859-1, other characters as references."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape, quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from portal.xml_text import has_illegal_characters

ENCODING = "ISO-8859-1"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_TYPE = f"{{{_XSI}}}type"
_OPENING = (
    f'<?xml version="1.0" encoding="{ENCODING}"?>\n<BroadsoftDocument protocol="OCI" xmlns="C" xmlns:xsi="{_XSI}">'
)
_ERROR = re.compile(r"^\s*\[Error (\d+)\]\s*")

ResultT = TypeVar("ResultT")
Value = str | bool | int


class Unreadable(ValueError):
    """What came is no BroadsoftDocument with an answer."""


@dataclass(frozen=True)
class Command:
    """One request. `fields` are its elements in the order of the schema, by their names on the wire; a mapping nests.

    `secrets` are those of its values that nothing may show. Its `repr` has no values.
    """

    name: str
    fields: Mapping[str, Value | Mapping[str, Any]] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def without_secrets(self, text: str) -> str:
        """`text` as it may be shown, should BroadWorks quote what it was sent, escaped or not."""
        for secret in self.secrets:
            text = text.replace(secret, "••••").replace(escape(secret), "••••")
        return text

    def is_answered_by(self, answer: Answer) -> bool:
        """Whether this is the type of an answer to it: its own (`…GetRequest21` → `…GetResponse21`), that of all
        commands that only set something, or an error."""
        own = "Response".join(self.name.rsplit("Request", 1))
        return answer.name in (own, "SuccessResponse") or answer.is_error


@dataclass(frozen=True)
class Answer:
    """The answer to one command: its type without the prefix, and its content."""

    name: str
    session_id: str
    content: Element = field(repr=False)

    @property
    def is_error(self) -> bool:
        return self.name == "ErrorResponse"

    @property
    def error(self) -> tuple[str, str]:
        """The sentence, as long as it came, and the number of an ErrorResponse."""
        text = self.text("summaryEnglish") or self.text("summary") or "BroadWorks gave no reason."
        found = _ERROR.match(text)
        code = self.text("errorCode") or (found[1] if found else "")
        return _ERROR.sub("", text).strip(), code

    def text(self, path: str) -> str:
        """The text of the element at `path` below the command, "" when there is none."""
        return (self.content.findtext(path) or "").strip()

    def flag(self, path: str) -> bool:
        return self.text(path) == "true"

    def table(self, name: str) -> list[dict[str, str]]:
        """The rows of an OCI table by the headings of its columns."""
        table = self.content.find(name)
        if table is None:
            return []
        headings = [(heading.text or "").strip() for heading in table.findall("colHeading")]
        rows = ([(column.text or "").strip() for column in row.findall("col")] for row in table.findall("row"))
        return [dict(zip(headings, row, strict=False)) for row in rows]


# What a command of ours is made of: requests out, answers in.
Operation = Generator[Command, Answer, ResultT]


def write_document(session_id: str, command: Command) -> bytes:
    """The document for one command. Raises ValueError for a value with characters that XML cannot hold."""
    text = (
        f'{_OPENING}<sessionId xmlns="">{_written(session_id)}</sessionId>'
        f'<command xsi:type={quoteattr(command.name)} xmlns="">{_elements(command.fields)}</command>'
        "</BroadsoftDocument>"
    )
    return text.encode(ENCODING, "xmlcharrefreplace")


def read_document(content: bytes | str) -> Answer:
    """The answer in a document. Raises Unreadable."""
    root = read_xml(content)
    command = next((child for child in root if _local(child.tag) == "command"), None)
    if _local(root.tag) != "BroadsoftDocument" or command is None:
        raise Unreadable("This is no BroadsoftDocument with a command.")
    name = _local(command.get(_TYPE) or "", ":")
    session_id = next((child.text or "" for child in root if _local(child.tag) == "sessionId"), "")
    if not name:
        raise Unreadable("The command has no type.")
    return Answer(name, session_id, command)


def read_xml(content: bytes | str) -> Element:
    """The root of an XML document without entities or a document type. Raises Unreadable."""
    try:
        root: Element = fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise Unreadable("This is no XML.") from error
    return root


def _local(name: str, after: str = "}") -> str:
    """A tag or type without its namespace."""
    return name.rpartition(after)[2]


def _elements(fields: Mapping[str, Any]) -> str:
    return "".join(f"<{name}>{_written(value)}</{name}>" for name, value in fields.items())


def _written(value: Value | Mapping[str, Any]) -> str:
    if isinstance(value, Mapping):
        return _elements(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if has_illegal_characters(text):
        raise ValueError("This text has characters that XML cannot hold.")
    # A bare carriage return would be read as a line feed.
    return escape(text, {"\r": "&#13;"})
