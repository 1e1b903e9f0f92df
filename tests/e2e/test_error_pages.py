"""The pages of errors, from a server without DEBUG: nothing wrong in the browser, clean for axe, fit 360 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection
from playwright.sync_api import Browser, expect

from portal.models import PortalAccount
from portal.tests.factories import PASSWORD, PortalAccountFactory
from tests.e2e.conftest import PATIENCE_MS
from tests.e2e.looking import Look
from tests.e2e.staff_site import log_in
from tests.faults.tcp_gate import Gate
from tests.faults.web_process import WebProcess, database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account() -> PortalAccount:
    # The tests' own quick hash is none that the web process knows.
    return PortalAccountFactory(role="read_only", password=PBKDF2PasswordHasher().encode(PASSWORD, "salt"))


@pytest.fixture
def gate() -> Iterator[Gate]:
    """The way to the database."""
    with Gate((connection.settings_dict["HOST"], int(connection.settings_dict["PORT"]))) as opened:
        yield opened


@pytest.fixture
def web(tmp_path: Path, gate: Gate) -> Iterator[WebProcess]:
    """The portal as in production, with its style sheets."""
    process = WebProcess(
        tmp_path, database_port=gate.port, DEBUG="0", SECRET_KEY="a secret key of this test's own " * 2
    )
    process.manage("collectstatic", "--noinput", "--verbosity", "0")
    process.start()
    yield process
    process.kill()


@contextmanager
def without_table(name: str) -> Iterator[None]:
    """What the code does not expect: a table is not there."""
    with psycopg.connect(database_url(), autocommit=True) as database:
        database.execute(f"ALTER TABLE {name} RENAME TO {name}_away")
        yield
        database.execute(f"ALTER TABLE {name}_away RENAME TO {name}")


def test_every_page_of_an_error_is_clean_and_fits_a_phone(
    account: PortalAccount, web: WebProcess, gate: Gate, browser: Browser
) -> None:
    page = browser.new_page(base_url=web.url, viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    look, wrong = Look(page), {}

    def see(path: str, status: int, heading: str) -> None:
        wrong[heading] = look.go(path, status)
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)

    log_in(page, {"username": account.username})
    see("/users/none/", 404, "There is no such page")
    see("/users/?nonsense=1", 400, "This address makes no sense")
    see("/system-providers/add/", 403, "You may not do this")
    with without_table("portal_auditentry"):
        see("/audit/", 500, "Something went wrong here")
    gate.cut()
    see("/", 503, "Back in a moment")
    gate.open()

    page.context.clear_cookies()
    page.goto("/login/")
    page.context.clear_cookies()
    page.get_by_label("Username").fill("anybody")
    page.get_by_label("Password").fill("whatever it is")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This page was open for too long")
    wrong["csrf"] = [fault for fault in look.wrong() if "status of 403 " not in str(fault)]
    assert {heading: faults for heading, faults in wrong.items() if faults} == {}
