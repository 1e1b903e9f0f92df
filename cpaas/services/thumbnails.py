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
# A picture is taken apart in memory, four bytes a point. A JPEG is read at a fraction of its size.
_MOST_POINTS = 16_000_000
_MOST_POINTS_OF_JPEG = 200_000_000
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
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
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        # Whatever a decoder makes of bytes that somebody else chose.
        logger.info("no_thumbnail", error=type(error).__name__)
        return None
    finally:
        content.seek(0)


def _shrunk(content: BinaryIO) -> bytes | None:
    content.seek(0)
    with Image.open(content, formats=_FORMATS) as picture:
        points = picture.width * picture.height
        if points > (_MOST_POINTS_OF_JPEG if picture.format == "JPEG" else _MOST_POINTS):
            return None
        picture.draft("RGB", (SIDE, SIDE))
        upright = ImageOps.exif_transpose(picture)
        upright.thumbnail((SIDE, SIDE))
        out = BytesIO()
        _on_white(upright).save(out, "JPEG", quality=80, optimize=True)
    return out.getvalue()


def _on_white(picture: Image.Image) -> Image.Image:
    """Without transparency, which JPEG does not have."""
    if picture.mode in ("RGB", "L"):
        return picture
    layered = picture.convert("RGBA")
    ground = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(ground, layered).convert("RGB")
