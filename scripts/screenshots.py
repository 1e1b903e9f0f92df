"""Makes the pictures of docs/staff-site.md anew, from the demo data, wide and as on a phone: `make screenshots`."""

from __future__ import annotations

import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.conftest import CHROMIUM, CHROMIUM_OPTIONS
from tests.sandbox_process import ROOT
from tests.stack_process import Stack

FOLDER = ROOT / "docs" / "images"
WIDE, PHONE = (1280, 800), (360, 740)
# A page in two themes has few colours; with 128 of them nobody sees the difference, and a picture is half as large.
COLOURS = 128
OPERATOR, PROVIDER, GROUP = "demo-operator", "harbourline-admin", "kessler-view"


@dataclass(frozen=True)
class Picture:
    """A page as an account sees it: where to start, and the links, tabs and buttons from there."""

    name: str
    account: str
    start: str
    clicks: tuple[str, ...] = ()
    dark: bool = False


HARBOURLINE = "Harbourline Communications"
DANA, YUKI = "Dana Desk (2019920762)", "Yuki Yard (2019920775)"
PICTURES = (
    Picture("overview", PROVIDER, "/"),
    Picture("overview-dark", PROVIDER, "/", dark=True),
    Picture("overview-operator", OPERATOR, "/"),
    Picture("overview-group", GROUP, "/"),
    Picture("search", PROVIDER, "/search/?q=0762"),
    Picture("search-nothing", PROVIDER, "/search/?q=nobody"),
    Picture("system-providers", OPERATOR, "/system-providers/"),
    Picture("system-provider", OPERATOR, "/system-providers/", (HARBOURLINE,)),
    Picture("resellers", PROVIDER, "/resellers/"),
    Picture("reseller", PROVIDER, "/resellers/", ("Summit Ridge IT",)),
    Picture("reseller-add", PROVIDER, "/resellers/add/"),
    Picture("groups", PROVIDER, "/groups/"),
    Picture("group", PROVIDER, "/groups/", ("Kessler & Boyd Legal",)),
    Picture("users", PROVIDER, "/users/"),
    Picture("user", PROVIDER, "/users/", ("Chris Doyle",)),
    Picture("user-without-number", PROVIDER, "/users/", ("Priya Raman",)),
    Picture("user-add", PROVIDER, "/users/add/"),
    Picture("user-delete", PROVIDER, "/users/", ("Chris Doyle", "Delete")),
    Picture("user-history", PROVIDER, "/users/", ("Chris Doyle", "Audit trail")),
    Picture("platforms", PROVIDER, "/platforms/"),
    Picture("platform", PROVIDER, "/platforms/", ("Inteliquent",)),
    Picture("platform-add", OPERATOR, "/system-providers/", (HARBOURLINE, "Add CPaaS Platform")),
    Picture("numbers", PROVIDER, "/numbers/"),
    Picture("number", PROVIDER, "/numbers/", (DANA,)),
    Picture("number-failed", PROVIDER, "/numbers/", (YUKI,)),
    Picture("number-add", PROVIDER, "/users/", ("Priya Raman", "Add CPaaS Number")),
    Picture("number-edit", PROVIDER, "/numbers/", (DANA, "Edit")),
    Picture("number-delete", PROVIDER, "/numbers/", (DANA, "Delete number")),
    Picture("media-streams", PROVIDER, "/media-streams/"),
    Picture("media-stream", PROVIDER, "/media-streams/", ("Appointments",)),
    Picture("opt-in-evidence", PROVIDER, "/opt-in-evidence/"),
    Picture("portal-accounts", PROVIDER, "/portal-accounts/"),
    Picture("portal-account-add", PROVIDER, "/portal-accounts/add/"),
    Picture("api-tokens", PROVIDER, "/api-tokens/"),
    Picture("api-token-add", PROVIDER, "/api-tokens/add/"),
    Picture("audit-trail", PROVIDER, "/audit/"),
    Picture("mail", OPERATOR, "/mail/"),
    Picture("my-account", PROVIDER, "/my-account/"),
    Picture("second-factor", PROVIDER, "/my-account/second-factor/"),
    Picture("api-docs", PROVIDER, "/api/v1/docs/"),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), demo=True)
        try:
            stack.wait_until_ready()
            with sync_playwright() as playwright:
                chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
                take_all(stack, chromium)
                chromium.close()
        finally:
            stack.end()
    sizes = [path.stat().st_size for path in FOLDER.glob("staff-*.png")]
    print(f"{len(sizes)} pictures, {sum(sizes) // 1000} kB")


def take_all(stack: Stack, chromium: Browser) -> None:
    for old in FOLDER.glob("staff-*.png"):
        old.unlink()
    logins = json.loads((stack.folder / "demo.json").read_text())["staff"]
    passwords = {row["username"]: row["password"] for row in logins}
    pages: dict[str, Page] = {}
    login = chromium.new_page(base_url=stack.url)
    login.goto("/login/")
    keep(login, "login")
    for picture in PICTURES:
        if picture.account not in pages:
            pages[picture.account] = logged_in(chromium, stack.url, picture.account, passwords[picture.account])
        take(pages[picture.account], picture)


def logged_in(chromium: Browser, url: str, username: str, password: str) -> Page:
    page = chromium.new_page(base_url=url, reduced_motion="reduce")
    page.goto("/login/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Needs attention").wait_for()
    return page


def take(page: Page, picture: Picture) -> None:
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.emulate_media(color_scheme="dark" if picture.dark else "light")
    page.goto(picture.start)
    for name in picture.clicks:
        main = page.get_by_role("main")
        tab, button = main.get_by_role("tab", name=name, exact=True), main.get_by_role("button", name=name)
        with page.expect_navigation():
            main.get_by_role("link", name=name, exact=True).or_(tab).or_(button).first.click()
    keep(page, picture.name)


def keep(page: Page, name: str) -> None:
    """The page as it is now, in both widths."""
    for ending, (width, height) in {"": WIDE, "-phone": PHONE}.items():
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_load_state("networkidle")
        page.evaluate("scrollTo(0, 0)")
        image = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
        small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(FOLDER / f"staff-{name}{ending}.png", optimize=True)


if __name__ == "__main__":
    main()
