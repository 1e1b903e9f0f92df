"""What a stranger finds after `make run`: logins that work, a text that goes out, its receipt and the reply."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.clients import Device, staff_api
from tests.sandbox_process import ROOT
from tests.stack_process import Stack, own_broker, own_database

# Their providers are at different carriers.
CHRIS, AMELIA = "chris.doyle@kesslerboyd.example", "amelia.hart@brightwell.example"


def text_and_echo(stack: Stack, text: str, login: str = CHRIS) -> None:
    """Send as a demo user; the receipt and the reply come on the event stream."""
    logins = json.loads((stack.folder / "demo.json").read_text())
    assert (logins["portal"], logins["sandbox"]) == (stack.url, f"http://127.0.0.1:{stack.sandbox_port}")
    user = next(row for row in logins["users"] if row["login"] == login)
    device = Device(stack.url, user["login"], user["password"])
    with device.stream() as stream:
        message = device.send("7036089795", text, **{"from": user["numbers"][0]})

        def came(kind: str, **fields: Any) -> bool:
            return any(event["type"] == kind and fields.items() <= event["data"].items() for event in stream.seen)

        # In either order.
        stream.wait(
            lambda _: (
                came("message.updated", id=message["id"], status="delivered")
                and came("message.created", direction="in", text=text)
            )
        )


def run_the_commands_of_the_guide(stack: Stack) -> None:
    """docs/integrating.md says that its commands were tried."""
    guide = (ROOT / "docs" / "integrating.md").read_text()
    script = "set -euo pipefail\n" + "\n".join(re.findall(r"```sh\n(.*?)```", guide, re.DOTALL))
    done = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"PORTAL": stack.url}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]} {done.stderr}"
    assert "event: hello" in done.stdout
    assert '"type": "message.created"' in done.stdout
    assert "\nremoving\n" in done.stdout


@pytest.mark.core
def test_the_demo_works_and_still_does_after_a_restart(tmp_path: Path, broker_place: int, browser: Browser) -> None:
    with own_database() as database_url:
        settings = {"DATABASE_URL": database_url, **own_broker(broker_place + 1)}
        first = Stack(tmp_path, demo=True, **settings)
        try:
            first.wait_until_ready()
            text_and_echo(first, "Is anybody there?")
            text_and_echo(first, "And at the other carrier?", AMELIA)
            run_the_commands_of_the_guide(first)
            staff = json.loads((tmp_path / "demo.json").read_text())["staff"]
            for row in staff:
                assert staff_api(first.url, row["token"]).get("me/")["level"] == row["level"]
            page = browser.new_page(base_url=first.url)
            page.goto("/login/")
            page.get_by_label("Username").fill(staff[2]["username"])
            page.get_by_label("Password").fill(staff[2]["password"])
            page.get_by_role("button", name="Log in").click()
            expect(page.get_by_role("link", name="Dana Desk (2019920762)")).to_be_visible()
        finally:
            first.end()
        # The sandbox has forgotten everything and the ports are others: the numbers' hooks are set again.
        again = Stack(tmp_path, demo=True, **settings)
        try:
            again.wait_until_ready()
            text_and_echo(again, "And now?")
        finally:
            again.end()
