"""How many parts a carrier counts a text as."""

from __future__ import annotations

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM = dict.fromkeys(_BASIC, 1) | dict.fromkeys("^{}\\[~]|€\f", 2)


def is_gsm(text: str) -> bool:
    return all(character in GSM for character in text)


def segments(text: str) -> int:
    """Parts of a text: 160 or 153 septets each, 70 or 67 UTF-16 units when it is not all GSM-7."""
    if is_gsm(text):
        return _parts([GSM[character] for character in text], 160, 153)
    return _parts([len(character.encode("utf-16-be", "surrogatepass")) // 2 for character in text], 70, 67)


def _parts(sizes: list[int], single: int, each: int) -> int:
    """No character may straddle two parts."""
    if sum(sizes) <= single:
        return 1
    parts, room = 1, each
    for size in sizes:
        if size > room:
            parts, room = parts + 1, each
        room -= size
    return parts
