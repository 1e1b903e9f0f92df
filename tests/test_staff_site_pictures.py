"""docs/staff-site.md shows every picture there is, and none that is missing."""

from __future__ import annotations

import re

from tests.sandbox_process import ROOT

DOCS = ROOT / "docs"
MOST_BYTES = 3_000_000


def test_each_picture_of_the_staff_site_is_shown_in_both_widths() -> None:
    shown = re.findall(r'src="images/(staff-[^"]+\.png)"', (DOCS / "staff-site.md").read_text())
    pictures = list((DOCS / "images").glob("staff-*.png"))
    assert sorted(shown) == sorted(picture.name for picture in pictures)
    wide = {name for name in shown if not name.endswith("-phone.png")}
    assert {name.replace(".png", "-phone.png") for name in wide} == set(shown) - wide
    assert sum(picture.stat().st_size for picture in pictures) < MOST_BYTES
