"""What a file is, by its first bytes and its name, and how it may travel (S1.39, R14). No I/O but reading the file.

Of what users send, only the types of S1.39 are taken, and only when content and extension agree. What carriers bring in
is kept whatever it is; a type that is not known here is a download and nothing else.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import BinaryIO

LONGEST_NAME = 150
UNKNOWN = "application/octet-stream"
# S1.39, exactly.
ALLOWED = {
    ".txt": "text/plain",
    ".mpeg": "video/mpeg",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".bmp": "image/bmp",
    ".png": "image/png",
    ".gif": "image/gif",
    ".csv": "text/csv",
}
# What every carrier takes as MMS; the rest goes as a link (R14).
MMS_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "video/mp4", "audio/mpeg"})
PICTURES = frozenset({"image/jpeg", "image/png", "image/gif", "image/bmp", "image/webp"})
# Shown by a browser where they are; they hold no code. Everything else is offered for saving.
SHOWN_IN_PLACE = frozenset(
    {*PICTURES, "video/mp4", "video/mpeg", "video/3gpp", "audio/mpeg", "audio/amr", "audio/wav", "audio/ogg"}
)
# What else phones send.
_INBOUND = {
    ".webp": "image/webp",
    ".3gp": "video/3gpp",
    ".amr": "audio/amr",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".vcf": "text/vcard",
}
_EXTENSION_OF = {kind: extension for extension, kind in reversed([*ALLOWED.items(), *_INBOUND.items()])} | {
    "image/jpeg": ".jpg"
}
_HEAD = 4096
_STARTS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"ID3", "audio/mpeg"),
    (b"#!AMR", "audio/amr"),
    (b"OggS", "audio/ogg"),
)
# Of the container that MP4 shares with others: Apple's films, pictures, sound alone.
_NOT_MP4 = re.compile(rb"qt  |hei[cxms]|mif1|msf1|avi[fs]|M4[AB] |f4[ab] ")
_BITMAP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_CONTROLS = re.compile(r"[\x01-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


class TypeNotAllowed(ValueError):
    """The text says what is wrong with the file, for the person who chose it."""


@dataclass(frozen=True)
class FileType:
    """A content type and the name that goes with it."""

    content_type: str
    name: str


def type_to_send(name: str, content: BinaryIO) -> FileType:
    """The type of a file a user wants to send. Raises TypeNotAllowed unless S1.39 allows its name and its content."""
    shown = clean_name(name)
    extension = extension_of(shown)
    wanted = ALLOWED.get(extension)
    if wanted is None:
        raise TypeNotAllowed(f"Files of type {extension or 'without an extension'} cannot be sent.")
    found = sniff(content)
    if found != wanted and (found, wanted) != ("text/plain", "text/csv"):
        raise TypeNotAllowed(f"{shown} is not what its name says: its content is not that of a {extension} file.")
    return FileType(wanted, shown)


def type_received(name: str, content: BinaryIO) -> FileType:
    """The type of a file that came in, by its content alone, and its name with the extension that belongs to it."""
    found, shown = sniff(content), clean_name(name)
    own = extension_of(shown)
    if found == "text/plain" and own in (".csv", ".vcf"):
        found = {**ALLOWED, **_INBOUND}[own]
    known = {**ALLOWED, **_INBOUND}.get(own)
    if known != found and found in _EXTENSION_OF:
        shown = clean_name(shown[: len(shown) - len(own)] + _EXTENSION_OF[found])
    return FileType(found, shown)


def sniff(content: BinaryIO) -> str:
    """The content type by what is in the file, UNKNOWN when it is none of ours. The file is left at its beginning."""
    content.seek(0)
    head = content.read(_HEAD)
    found = _by_start(head)
    if found is None:
        found = "text/plain" if _is_wide_text(head) or (_is_text(head) and _has_no_nul(content)) else UNKNOWN
    content.seek(0)
    return found


def clean_name(name: str) -> str:
    """A file name to show and to save by: no folders, nothing invisible, of bearable length, never empty."""
    name = "".join(character for character in name if character.isprintable())
    name = re.split(r"[/\\]", name)[-1].strip().strip(".")
    extension = name[len(name) - len(extension_of(name)) :]
    stem = name.removesuffix(extension)[: LONGEST_NAME - len(extension)].strip(" .")
    return (stem or "file") + extension


def extension_of(name: str) -> str:
    """`.jpg` of `Photo.JPG`; "" without one."""
    found = re.search(r"\.[A-Za-z0-9]{1,10}\Z", name)
    return found[0].lower() if found else ""


def name_in_url(name: str) -> str:
    """The name as it stands in a link: short, and of characters that every phone sends as they are (GSM-7)."""
    extension = extension_of(name)
    plain = unicodedata.normalize("NFKD", name[: len(name) - len(extension)]).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    return (stem or "file") + extension


def _by_start(head: bytes) -> str | None:
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[4:8] == b"ftyp":
        return _iso_media(head[8:12])
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS:
        return "image/bmp"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12])
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    return "audio/mpeg" if _is_mp3_frame(head[:4]) else None


def _iso_media(brand: bytes) -> str | None:
    if brand.startswith(b"3g"):
        return "video/3gpp"
    return None if _NOT_MP4.match(brand) else "video/mp4"


def _is_mp3_frame(head: bytes) -> bool:
    """The header of an MPEG audio frame of layer III: no reserved version, bit rate or sampling rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, sampling = head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer == 1 and bit_rate not in (0, 15) and sampling != 3


def _is_text(head: bytes) -> bool:
    """UTF-8, else an older alphabet: no control characters but those that lay out a text."""
    if not head or b"\0" in head:
        return False
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data" and error.end == len(head) == _HEAD
        text = head[: error.start].decode() if is_cut else head.decode("latin-1")
    return not _CONTROLS.search(text)


def _is_wide_text(head: bytes) -> bool:
    """UTF-16 with its mark, as Windows saves texts."""
    if not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    try:
        text = head[: len(head) // 2 * 2].decode("utf-16")
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return False
        text = head[: error.start].decode("utf-16")
    return "\0" not in text and not _CONTROLS.search(text)


def _has_no_nul(content: BinaryIO) -> bool:
    while chunk := content.read(1 << 16):
        if b"\0" in chunk:
            return False
    return True
