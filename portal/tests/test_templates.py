"""Our templates hold no code of their own, so the content security policy needs no exception."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

TEMPLATES = sorted(Path(settings.BASE_DIR, "templates").rglob("*.html"))
INLINE = {
    "a script": re.compile(r"<script(?![^>]*\bsrc=)", re.IGNORECASE),
    "an event handler": re.compile(r"\son[a-z]+\s*=", re.IGNORECASE),
    "a javascript: address": re.compile(r"javascript:", re.IGNORECASE),
    "a style": re.compile(r"<style|\sstyle\s*=", re.IGNORECASE),
    "an expression of Alpine": re.compile(r"\s(x-[a-z]+|@[a-z]+|:[a-z]+)\s*[.=:]"),
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: "-".join(path.parts[-2:]))
def test_a_template_has_no_inline_code(template: Path) -> None:
    text = template.read_text()
    assert [what for what, pattern in INLINE.items() if pattern.search(text)] == []
