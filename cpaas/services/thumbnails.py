"""Small pictures of pictures, without anything the original says about where and when it was taken."""

from __future__ import annotations

import threading
from io import BytesIO
from typing import BinaryIO

from PIL import Image, ImageOps

from cpaas.file_types import PICTURES
from portal.logs import get_logger

logger = get_logger(__name__)
SIDE = 320
# A picture is taken apart in memory, four bytes a point. Most JPEGs are read line by line at a fraction of their size;
# of a progressive one all coefficients are kept, six bytes a point, and gone through once for every scan.
_MOST_POINTS = 16_000_000
_MOST_POINTS_OF_JPEG = 50_000_000
# Cameras and programs make ten or so, the pictures within the picture included.
_MOST_SCANS = 100
_SCAN = b"\xff\xda"
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
# The second: with more pictures behind the first, as some cameras write them.
_JPEG = ("JPEG", "MPO")
# One at a time in a process: that is what its memory is counted for.
_one_at_a_time = threading.Lock()


def make_thumbnail(content_type: str, content: BinaryIO) -> bytes | None:
    """A JPEG of at most 320 by 320 points, upright; None for what is no picture, is damaged, or is far too large.

    The file is left at its beginning.
    """
    if content_type not in PICTURES:
        return None
    try:
        with _one_at_a_time:
            return _shrunk(content)
    except Exception as error:
        # Whatever a decoder makes of bytes that somebody else chose: the file is as good as it is without a thumbnail.
        logger.info("no_thumbnail", error=type(error).__name__)
        return None
    finally:
        content.seek(0)


def _shrunk(content: BinaryIO) -> bytes | None:
    content.seek(0)
    with Image.open(content, formats=_FORMATS) as picture:
        if picture.width * picture.height > _most_points(picture):
            return None
        if picture.format in _JPEG and _count_scans(content) > _MOST_SCANS:
            return None
        picture.draft("RGB", (SIDE, SIDE))
        upright = ImageOps.exif_transpose(picture)
        upright.thumbnail((SIDE, SIDE))
        small, out = _on_white(upright), BytesIO()
        small.info = {}  # a comment would be written again
        small.save(out, "JPEG", quality=80, optimize=True)
    return out.getvalue()


def _most_points(picture: Image.Image) -> int:
    is_read_by_lines = picture.format in _JPEG and "progressive" not in picture.info
    return _MOST_POINTS_OF_JPEG if is_read_by_lines else _MOST_POINTS


def _count_scans(content: BinaryIO) -> int:
    """How many scans a JPEG has at most; leaves the file where it was."""
    place = content.tell()
    content.seek(0)
    found = content.read().count(_SCAN)
    content.seek(place)
    return found


def _on_white(picture: Image.Image) -> Image.Image:
    """Without transparency, which JPEG does not have."""
    if picture.mode in ("RGB", "L"):
        return picture
    layered = picture.convert("RGBA")
    ground = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(ground, layered).convert("RGB")
