"""XML as carriers write and read it: nested elements without attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from aiohttp import web

DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'


def as_xml(root: str, data: Any) -> str:
    """`data` below an element called `root`: objects are elements, lists repeat theirs, None is an empty element."""
    element = ElementTree.Element(root)
    _fill(element, data)
    return DECLARATION + ElementTree.tostring(element, encoding="unicode")


def _fill(element: ElementTree.Element, data: Any) -> None:
    if not isinstance(data, Mapping):
        element.text = None if data is None else str(data)
        return
    for name, value in data.items():
        for item in value if isinstance(value, list) else [value]:
            _fill(ElementTree.SubElement(element, name), item)


def read_xml(body: bytes) -> tuple[str, dict[str, Any]]:
    """Name and content of the root element; a leaf is its text, elements that repeat are a list. Raises ValueError."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - what clients of a simulator on this machine write
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"The body is not XML: {error}") from None
    content = _content(root)
    return root.tag, content if isinstance(content, dict) else {}


def _content(element: ElementTree.Element) -> Any:
    if len(element) == 0:
        return (element.text or "").strip()
    content: dict[str, Any] = {}
    for child in element:
        known, value = content.get(child.tag), _content(child)
        if known is not None:
            value = [*(known if isinstance(known, list) else [known]), value]
        content[child.tag] = value
    return content


def xml_response(root: str, data: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, text=as_xml(root, data), content_type="application/xml", charset="utf-8")
