"""A file in a request body: `multipart/form-data` with one part `file`, received piece by piece onto the disk."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO, cast

from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.http import parse_header_parameters
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.parsers import BaseParser

from portal.api.parsing import require_storable
from portal.api.problems import too_large
from portal.logs import get_logger
from portal.problems import Problem, no_room

logger = get_logger(__name__)
LARGEST_FILE = 25 * 1024 * 1024
LARGEST_TABLE = 10 * 1024 * 1024
# What the frame around the file may take.
_FRAME = 64 * 1024
# So much of a body that is too large is still read, so that its sender gets to hear why it is not taken.
_PATIENCE = 8 * LARGEST_FILE
_CHUNK = 64 * 1024
# Behind the form nothing follows but perhaps a line break.
_END = 512


@dataclass
class ReceivedFile:
    """A file as it came; `content` has no name on the disk, so that it is gone when the process is."""

    name: str
    content: BinaryIO = field(repr=False)
    size: int = 0
    digest: str = ""

    def read(self, most: int) -> bytes:
        """All of it. Raises Problem `too_large` (413) when it has more than `most` bytes, which is not read then."""
        if self.size > most:
            raise too_large(most)
        self.content.seek(0)
        return self.content.read()

    def identity(self) -> list[str]:
        """What makes two files the same file."""
        return [self.name, self.digest]


@extend_schema_field({"type": "string", "format": "binary"})
class FileField(serializers.Field[Any, Any, Any, Any]):
    """The part of a form that is a file."""

    default_error_messages = {"invalid": "Send a file in this part of the form."}

    def to_internal_value(self, data: Any) -> ReceivedFile:
        if not isinstance(data, ReceivedFile):
            self.fail("invalid")
        return data


class UploadParser(BaseParser):
    """Reads a form with a file. Raises Problem `invalid` (400), `too_large` (413), `unavailable` (503: no room).

    Nothing of the file is kept in memory but the piece at hand.
    """

    media_type = "multipart/form-data"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        meta: dict[str, Any] = (parser_context or {})["request"].META
        length = int(meta.get("CONTENT_LENGTH") or 0)
        body, receiver = _Body(stream), _Receiver()
        if length > LARGEST_FILE + _FRAME:
            body.drain(_PATIENCE)
            raise _file_too_large()
        try:
            form = MultiPartParser({**meta, "CONTENT_TYPE": media_type}, cast(Any, body), [receiver], "utf-8")
            texts, _ = form.parse()
        except MultiPartParserError as error:
            raise Problem("invalid", f"The body is not a valid form: {error}.", status=400) from error
        except UnreadablePostError as error:
            raise _cut_off() from error
        except OSError as error:
            logger.error("upload_not_received", error=type(error).__name__, number=error.errno)
            raise no_room() from error
        if receiver.too_large:
            raise _file_too_large()
        body.drain(length)
        boundary = parse_header_parameters(media_type or "")[1].get("boundary", "")
        if length and not body.ends_with(boundary.encode()):
            raise _cut_off()
        return {**_storable(texts), **receiver.files}


class CSVParser(BaseParser):
    """Takes a `text/csv` body for the `file` of a form. Raises Problem `too_large` (413)."""

    media_type = "text/csv"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        raw: bytes = stream.read(LARGEST_TABLE + 1)
        if len(raw) > LARGEST_TABLE:
            raise too_large(LARGEST_TABLE)
        return {"file": ReceivedFile("", io.BytesIO(raw), len(raw), hashlib.sha256(raw).hexdigest())}


class _Body:
    """The request's body, counted, its end remembered."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream
        self.seen = 0
        self._end = b""

    def read(self, size: int = _CHUNK) -> bytes:
        chunk: bytes = self._stream.read(size)
        self.seen += len(chunk)
        self._end = (self._end + chunk)[-_END:]
        return chunk

    def drain(self, most: int) -> None:
        while self.seen < most and self.read():
            continue

    def ends_with(self, boundary: bytes) -> bool:
        """Whether the line that closes a form has come: what was cut off lacks it."""
        return b"--" + boundary + b"--" in self._end


class _Receiver(FileUploadHandler):
    """Writes each file of the form into a file without a name; stops when they get too large."""

    chunk_size = _CHUNK

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, ReceivedFile] = {}
        self.too_large = False
        self._total = 0

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        name = str(self.field_name)
        if name in self.files:
            raise Problem("invalid", "Send one file.", status=400, errors={name: ["Send one file."]})
        require_storable(name, name)
        # Without a name in any folder: a process that is killed leaves nothing.
        content = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - closed with the request
        self._now = self.files[name] = ReceivedFile(str(self.file_name), content)
        self._sum = hashlib.sha256()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._total += len(raw_data)
        if self._total > LARGEST_FILE:
            self.too_large = True
            raise StopUpload(connection_reset=False)
        self._now.content.write(raw_data)
        self._sum.update(raw_data)

    def file_complete(self, file_size: int) -> None:
        self._now.content.flush()
        self._now.size, self._now.digest = file_size, self._sum.hexdigest()


def _storable(texts: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(texts.items())
    for name, value in found.items():
        require_storable(name, name)
        require_storable(name, value)
    return found


def _file_too_large() -> Problem:
    sentence = f"A file may have at most {LARGEST_FILE // 1024 // 1024} MB."
    return Problem("too_large", sentence, status=413, errors={"file": [sentence]})


def _cut_off() -> Problem:
    return Problem("invalid", "The upload broke off before it was complete. Send the file again.", status=400)
