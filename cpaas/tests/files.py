"""Small files of every type, as their programs write them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2avc1mp41" + b"\0" * 64
MP3 = b"ID3\x04\0\0\0\0\0\0" + b"\xff\xfb\x90\x64" + b"\0" * 413
MPEG = b"\0\0\1\xba\x44\0\4\0\4\1\0\3\x2f" + b"\0" * 64
EXE = b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0" + b"\0" * 200
HTML = b"<!doctype html><script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def picture(kind: str = "JPEG", size: tuple[int, int] = (640, 480), **options: Any) -> bytes:
    """A picture whose left half is red."""
    made = Image.new("RGB", size, "white")
    made.paste("red", (0, 0, size[0] // 2, size[1]))
    out = BytesIO()
    made.save(out, kind, **options)
    return out.getvalue()


SAMPLES = {
    ".txt": "Grüße\r\n".encode(),
    ".csv": b"name,number\nAnna,+12019920789\n",
    ".pdf": PDF,
    ".mp4": MP4,
    ".mp3": MP3,
    ".mpeg": MPEG,
    ".jpg": picture("JPEG", (64, 48)),
    ".jpeg": picture("JPEG", (64, 48)),
    ".png": picture("PNG", (64, 48)),
    ".gif": picture("GIF", (64, 48)),
    ".bmp": picture("BMP", (64, 48)),
}
