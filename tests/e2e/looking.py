"""What holds of every page: nothing went wrong in the browser, clean for axe (wide in light colours, on
a telephone in dark ones), and no wider than a telephone."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


class Look:
    """Looks at whatever `page` shows."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._said: list[str] = []
        page.on("console", lambda said: self._said.append(said.text) if said.type == "error" else None)

    def go(self, path: str, status: int = 200) -> list[Any]:
        """What is wrong with the page at `path`, which answers with `status`."""
        self._said.clear()
        answer = self.page.goto(path)
        found = self.wrong()
        if answer is None or answer.status != status:
            found.append(answer and answer.status)
        # The browser itself says of a page that it is none.
        own = f"status of {status} " if status != 200 else None
        return [fault for fault in found if not (own and isinstance(fault, str) and own in fault)]

    def wrong(self) -> list[Any]:
        """What is wrong with the page that is shown now, or is just being loaded."""
        self.page.wait_for_load_state()
        found = self._violations("wide")
        self.page.set_viewport_size({"width": 360, "height": 740})
        self.page.emulate_media(color_scheme="dark")
        found += self._violations("on a phone, dark")
        wide = self.page.evaluate("document.documentElement.scrollWidth")
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1280, "height": 900})
        found += [f"{wide} pixels wide"] if wide > 360 else []
        found += self._said
        self._said.clear()
        return found

    def _violations(self, how: str) -> list[Any]:
        return [
            (how, rule["id"], [node["html"][:120] for node in rule["nodes"][:3]])
            for rule in Axe().run(self.page).response["violations"]
        ]
