"""What a file is, and what may be sent (S1.39, R14)."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpaas.file_types import (
    ALLOWED,
    LONGEST_NAME,
    UNKNOWN,
    TypeNotAllowed,
    clean_name,
    extension_of,
    name_in_url,
    sniff,
    type_received,
    type_to_send,
)
from cpaas.segments import GSM
from cpaas.tests.files import EXE, HTML, MP3, PDF, SAMPLES, SVG, picture

NAMES = st.text(max_size=300) | st.from_regex(r"[\w .-]{0,40}\.(jpg|PNG|exe|csv)", fullmatch=True)


def test_s1_39_the_list_is_exactly_the_seeds() -> None:
    assert set(ALLOWED) == {".txt", ".mpeg", ".mp3", ".mp4", ".pdf", ".jpeg", ".jpg", ".bmp", ".png", ".gif", ".csv"}
    assert set(SAMPLES) == set(ALLOWED)


@pytest.mark.parametrize("extension", ALLOWED)
def test_s1_39_each_allowed_type_is_taken_by_name_and_content(extension: str) -> None:
    found = type_to_send(f"My file{extension.upper()}", BytesIO(SAMPLES[extension]))
    assert (found.content_type, found.name) == (ALLOWED[extension], f"My file{extension.upper()}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("setup.exe", EXE),
        ("photo.jpg", EXE),
        ("photo.jpg.exe", SAMPLES[".jpg"]),
        ("page.html", HTML),
        ("picture.svg", SVG),
        ("picture.png", SVG),
        ("photo.png", SAMPLES[".jpg"]),
        ("notes.txt", EXE),
        ("notes.txt", b"first a text" + b"x" * 10_000 + b"\0"),
        ("sheet.csv", PDF),
        ("song.mp3", b"\xff\xf1\x50\x80" + b"\0" * 100),
        ("film.mp4", b"\0\0\0\x14ftypqt  \0\0\0\0qt  "),
        ("film.mp4", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("drawing.bmp", b"BMW drives"),
        ("noextension", SAMPLES[".jpg"]),
        (".jpg", SAMPLES[".jpg"]),
        ("photo\u202egpj.exe", EXE),
        ("", PDF),
    ],
)
def test_s1_39_all_others_are_refused_with_a_sentence(name: str, content: bytes) -> None:
    with pytest.raises(TypeNotAllowed, match=r"cannot be sent|not what its name says"):
        type_to_send(name, BytesIO(content))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_text_in_any_usual_alphabet_is_a_text(encoding: str) -> None:
    assert type_to_send("a.txt", BytesIO("Grüße, Jürgen\n".encode(encoding))).content_type == "text/plain"


def test_a_character_cut_by_the_first_look_does_not_make_a_text_anything_else() -> None:
    assert sniff(BytesIO(b"x" * 4095 + "ü".encode() + b"y" * 100)) == "text/plain"


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("ME12345", picture("PNG", (8, 8)), ("image/png", "ME12345.png")),
        ("photo.png", SAMPLES[".jpg"], ("image/jpeg", "photo.jpg")),
        ("photo.jpeg", SAMPLES[".jpg"], ("image/jpeg", "photo.jpeg")),
        ("page.html", HTML, ("text/plain", "page.txt")),
        ("x.exe", EXE, (UNKNOWN, "x.exe")),
        ("card.vcf", b"BEGIN:VCARD\r\nEND:VCARD\r\n", ("text/vcard", "card.vcf")),
        ("voice", b"#!AMR\n\x3c", ("audio/amr", "voice.amr")),
        ("", MP3, ("audio/mpeg", "file.mp3")),
        ("../../etc/passwd", b"root:x:0:0\n", ("text/plain", "passwd.txt")),
    ],
)
def test_what_comes_in_is_kept_under_the_name_of_what_it_is(name: str, content: bytes, wanted: tuple[str, str]) -> None:
    found = type_received(name, BytesIO(content))
    assert (found.content_type, found.name) == wanted


@given(name=NAMES, content=st.binary(max_size=200) | st.sampled_from(list(SAMPLES.values())))
def test_any_name_with_any_content_is_taken_or_refused(name: str, content: bytes) -> None:
    try:
        found = type_to_send(name, BytesIO(content))
    except TypeNotAllowed:
        return
    assert ALLOWED[extension_of(found.name)] == found.content_type
    assert sniff(BytesIO(content)) in (found.content_type, "text/plain")


@given(name=NAMES, content=st.binary(max_size=200))
def test_whatever_comes_in_gets_a_type_that_holds_no_code(name: str, content: bytes) -> None:
    found = type_received(name, BytesIO(content))
    assert found.content_type.partition("/")[0] in ("text", "image", "audio", "video") or found.content_type in (
        UNKNOWN,
        "application/pdf",
    )
    assert found.content_type not in ("text/html", "image/svg+xml")


@given(name=NAMES)
def test_a_name_is_one_that_can_be_shown_and_saved(name: str) -> None:
    shown = clean_name(name)
    assert 0 < len(shown) <= LONGEST_NAME
    assert shown.isprintable()
    assert not set("/\\") & set(shown)
    assert shown not in (".", "..")
    assert clean_name(shown) == shown


@given(name=NAMES)
def test_a_name_in_a_link_costs_no_ucs_2_and_no_escape(name: str) -> None:
    link = name_in_url(clean_name(name))
    assert 0 < len(link) <= 51
    assert set(link) <= GSM
    assert all(character.isascii() and (character.isalnum() or character in "-.") for character in link)
