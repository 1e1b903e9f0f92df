"""Makes the pictures of docs/staff-site.md anew, from the demo data, wide and as on a phone: `make screenshots`.

Names of pictures (`make screenshots ONLY="overview message"`) leave the others as they are.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from django_otp.oath import totp
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.e2e.clients import Device
from tests.e2e.conftest import CHROMIUM, CHROMIUM_OPTIONS
from tests.sandbox_process import ROOT
from tests.stack_process import Stack

FOLDER = ROOT / "docs" / "images"
WIDE, PHONE = (1280, 800), (360, 740)
# A page has few colours: with the right 64 nobody sees the difference, and a picture is less than half as large.
COLOURS = 64
CHOSEN = frozenset(sys.argv[1:])
OPERATOR, PROVIDER, GROUP = "demo-operator", "harbourline-admin", "kessler-view"


@dataclass(frozen=True)
class Picture:
    """A page as an account sees it: where to start, and the links, tabs and buttons from there."""

    name: str
    account: str
    start: str
    clicks: tuple[str, ...] = ()
    dark: bool = False
    whole: bool = False
    """Also what one has to scroll to, in the wide picture."""
    section: str = ""
    """The heading to scroll to."""


FIRST, SECOND = "the first row", "the second row"
HARBOURLINE = "Harbourline Communications"
DANA, YUKI = "Dana Desk (2019920762)", "Yuki Yard (2019920775)"
STREAM, AGENTS = "Appointments", ("grace.imani", "sofia.lindqvist")
# Two lines that can be taken, and what goes wrong in tables.
NUMBERS = """\
number,login,friendly_name
(201) 992-0786,priya.raman@kesslerboyd.example,Priya Desk
2019920787,grace.imani@marigolddental.example,Grace Mobile
2019920787,sofia.lindqvist@marigolddental.example,Second Desk
2019920775,tom.arrowsmith@marigolddental.example,Tom
202 555,priya.raman@kesslerboyd.example,
2019920788,nobody@kesslerboyd.example,Mail room
"""
PICTURES = (
    Picture("overview", PROVIDER, "/"),
    Picture("overview-dark", PROVIDER, "/", dark=True),
    Picture("overview-operator", OPERATOR, "/"),
    Picture("overview-group", GROUP, "/"),
    Picture("search", PROVIDER, "/search/?q=0762"),
    Picture("system-providers", OPERATOR, "/system-providers/"),
    Picture("system-provider", OPERATOR, "/system-providers/", (HARBOURLINE,)),
    Picture("system-provider-add", OPERATOR, "/system-providers/add/"),
    Picture("system-provider-edit", OPERATOR, "/system-providers/", (HARBOURLINE, "Edit")),
    Picture("broadworks", OPERATOR, "/system-providers/", (HARBOURLINE,), section="BroadWorks"),
    Picture("broadworks-edit", OPERATOR, "/system-providers/", (HARBOURLINE, "Edit connection")),
    Picture("resellers", PROVIDER, "/resellers/"),
    Picture("reseller", PROVIDER, "/resellers/", ("Summit Ridge IT",)),
    Picture("groups", PROVIDER, "/groups/"),
    Picture("group", PROVIDER, "/groups/", ("Kessler & Boyd Legal",)),
    Picture("users", PROVIDER, "/users/"),
    Picture("user", PROVIDER, "/users/", ("Chris Doyle",)),
    Picture("user-presence", PROVIDER, "/users/", ("Dana Whitfield",), section="Presence"),
    Picture("user-without-number", PROVIDER, "/users/", ("Priya Raman",)),
    Picture("user-add", PROVIDER, "/users/add/"),
    Picture("user-edit", PROVIDER, "/users/", ("Chris Doyle", "Edit")),
    Picture("user-delete", PROVIDER, "/users/", ("Chris Doyle", "Delete")),
    Picture("user-history", PROVIDER, "/users/", ("Chris Doyle", "Audit trail")),
    Picture("platforms", PROVIDER, "/platforms/"),
    Picture("platform", PROVIDER, "/platforms/", ("Inteliquent",)),
    Picture("platform-edit", PROVIDER, "/platforms/", ("Inteliquent", "Edit")),
    Picture("platform-delete", PROVIDER, "/platforms/", ("Inteliquent", "Delete")),
    Picture("platform-add", OPERATOR, "/system-providers/", (HARBOURLINE, "Add CPaaS Platform")),
    Picture("numbers", PROVIDER, "/numbers/"),
    Picture("number", PROVIDER, "/numbers/", (DANA,)),
    Picture("number-failed", PROVIDER, "/numbers/", (YUKI,)),
    Picture("number-add", PROVIDER, "/users/", ("Priya Raman", "Add CPaaS Number")),
    Picture("number-transfer", PROVIDER, "/numbers/", (DANA, "Transfer")),
    Picture("import-add", PROVIDER, "/imports/", ("Import numbers",)),
    Picture("sms-gateway", PROVIDER, "/sms-gateways/", ("sms.im.sandbox.example",)),
    Picture("charges", PROVIDER, "/charges/"),
    Picture("message-log", PROVIDER, "/message-log/"),
    Picture("message", PROVIDER, "/message-log/?to=0190", (FIRST,), whole=True),
    Picture("dead-letters", PROVIDER, "/dead-letters/"),
    Picture("dead-letter", PROVIDER, "/dead-letters/", (SECOND,)),
    Picture("ticket", PROVIDER, "/tickets/", (FIRST,), whole=True),
    Picture("directories", PROVIDER, "/directories/"),
    Picture("directory", PROVIDER, "/directories/", ("Zoho CRM",)),
    Picture("number-edit", PROVIDER, "/numbers/", (DANA, "Edit")),
    Picture("number-delete", PROVIDER, "/numbers/", (DANA, "Delete number")),
    Picture("media-streams", PROVIDER, "/media-streams/"),
    Picture("media-stream", PROVIDER, "/media-streams/", (STREAM,)),
    Picture("media-stream-add", PROVIDER, "/media-streams/add/"),
    Picture("opt-in-evidence", PROVIDER, "/opt-in-evidence/"),
    Picture("opt-in-evidence-entry", PROVIDER, "/opt-in-evidence/", (FIRST,)),
    Picture("portal-accounts", PROVIDER, "/portal-accounts/"),
    Picture("portal-account", PROVIDER, "/portal-accounts/", (FIRST,)),
    Picture("portal-account-add", PROVIDER, "/portal-accounts/add/"),
    Picture("api-tokens", PROVIDER, "/api-tokens/"),
    Picture("api-token-add", PROVIDER, "/api-tokens/add/"),
    Picture("audit-trail", PROVIDER, "/audit/"),
    Picture("audit-entry", PROVIDER, "/audit/", (FIRST,)),
    Picture("mail", OPERATOR, "/mail/"),
    Picture("mail-entry", OPERATOR, "/mail/", (FIRST,)),
    Picture("services", OPERATOR, "/services/", whole=True),
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
    for old in [] if CHOSEN else FOLDER.glob("staff-*.png"):
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
    take_import(pages[PROVIDER])
    take_queue(pages[PROVIDER], stack)
    take_second_factor(pages[PROVIDER], PROVIDER, passwords[PROVIDER])


def logged_in(chromium: Browser, url: str, username: str, password: str) -> Page:
    page = chromium.new_page(base_url=url, reduced_motion="reduce")
    fill_in_login(page, username, password)
    page.get_by_role("heading", name="Needs attention").wait_for()
    return page


def fill_in_login(page: Page, username: str, password: str) -> None:
    page.goto("/login/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def take(page: Page, picture: Picture) -> None:
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.emulate_media(color_scheme="dark" if picture.dark else "light")
    page.goto(picture.start)
    for name in picture.clicks:
        with page.expect_navigation():
            place_of(page, name).first.click()
    keep(page, picture.name, whole=picture.whole, section=picture.section)


def place_of(page: Page, name: str) -> Locator:
    main = page.get_by_role("main")
    if name in (FIRST, SECOND):
        return main.locator("tbody tr").nth([FIRST, SECOND].index(name)).locator("a")
    tab, button = main.get_by_role("tab", name=name, exact=True), main.get_by_role("button", name=name)
    return main.get_by_role("link", name=name, exact=True).or_(tab).or_(button)


def take_import(page: Page) -> None:
    """What a check of a table says."""
    page.goto("/imports/add/")
    table = {"name": "new numbers.csv", "mimeType": "text/csv", "buffer": NUMBERS.encode()}
    page.get_by_label("File").set_input_files(files=[table])
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="Result").wait_for()
    keep(page, "import", whole=True)


def take_queue(page: Page, stack: Stack) -> None:
    """The live queue with both agents there: one has taken a conversation, the other is being asked."""
    users = {row["login"].split("@")[0]: row for row in json.loads((stack.folder / "demo.json").read_text())["users"]}
    grace, sofia = (Device(stack.url, row["login"], row["password"]) for row in map(users.get, AGENTS) if row)
    page.goto("/media-streams/")
    page.get_by_role("main").get_by_role("link", name=STREAM).click()
    with grace.stream() as events:
        conversation = events.wait_for("queue.offered")["conversation"]
        grace.post(f"conversations/{conversation}/reserve/", status=200)
        with sofia.stream() as others:
            others.wait_for("queue.offered")
            page.get_by_role("tab", name="Live queue").click()
            page.get_by_text("Being asked").first.wait_for()
            keep(page, "live-queue", whole=True, is_live=True)


def take_second_factor(page: Page, username: str, password: str) -> None:
    """Setting it up, its recovery codes, and the second step of a login."""
    page.goto("/my-account/second-factor/")
    page.get_by_role("button", name="Set up two-step login").click()
    secret = page.get_by_label("Secret", exact=True).input_value().replace(" ", "")
    keep(page, "second-factor-set-up")
    page.get_by_label("Present password").fill(password)
    page.get_by_label("Code", exact=True).fill(f"{totp(base64.b32decode(secret)):06d}")
    page.get_by_role("button", name="Turn on").click()
    page.get_by_text("This is the only time").wait_for()
    keep(page, "recovery-codes")
    page.context.clear_cookies()
    fill_in_login(page, username, password)
    page.get_by_label("Code", exact=True).wait_for()
    keep(page, "login-code")


def keep(page: Page, name: str, *, whole: bool = False, is_live: bool = False, section: str = "") -> None:
    """The page as it is now, in both widths. One that `is_live` never stops loading."""
    if CHOSEN and name not in CHOSEN:
        return
    for ending, (width, height) in {"": WIDE, "-phone": PHONE}.items():
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_load_state("load" if is_live else "networkidle")
        page.evaluate("scrollTo(0, 0)")
        if section:
            page.get_by_role("heading", name=section).evaluate("heading => heading.scrollIntoView()")
        image = Image.open(io.BytesIO(page.screenshot(animations="disabled", full_page=whole and not ending)))
        small = image.convert("RGB").quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE)
        small.save(FOLDER / f"staff-{name}{ending}.png", optimize=True)


if __name__ == "__main__":
    main()
