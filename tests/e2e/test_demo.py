"""What a stranger finds after `make run`: logins that work, a text that goes out, its receipt and the reply."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.clients import PATIENCE_S, Device, staff_api
from tests.sandbox_process import ROOT, wait_for
from tests.stack_process import Stack, own_broker, own_database

# Their providers are at different carriers.
CHRIS, AMELIA = "chris.doyle@kesslerboyd.example", "amelia.hart@brightwell.example"
HELEN = "helen.brandt@kesslerboyd.example"


def user_of(stack: Stack, login: str) -> Any:
    logins = json.loads((stack.folder / "demo.json").read_text())
    assert (logins["portal"], logins["sandbox"]) == (stack.url, f"http://127.0.0.1:{stack.sandbox_port}")
    return next(row for row in logins["users"] if row["login"] == login)


def device_of(stack: Stack, login: str) -> Device:
    return Device(stack.url, login, user_of(stack, login)["password"])


def text_and_echo(stack: Stack, text: str, login: str = CHRIS) -> None:
    """Send as a demo user; the receipt and the reply come on the event stream."""
    device, [number, *_] = device_of(stack, login), user_of(stack, login)["numbers"]
    with device.stream() as stream:
        message = device.send("7036089795", text, **{"from": number})

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
    said = run_the_commands_of(stack, "integrating")
    assert "event: hello" in said
    assert '"type": "message.created"' in said
    assert "\nremoving\n" in said


def run_the_commands_of(stack: Stack, guide: str) -> str:
    """What they print; none fails."""
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    script = "set -euo pipefail\n" + "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    done = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"PORTAL": stack.url}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]} {done.stderr}"
    return done.stdout


def make_xmpp(stack: Stack) -> None:
    """`make xmpp` beside the demo: what it says can be tried works, and at its end XMPP is off again."""
    environment = os.environ | {"PORTAL_VAR_DIR": str(stack.folder), "PYTHONPATH": str(ROOT)}
    program = subprocess.Popen(
        [sys.executable, "scripts/demo_xmpp.py"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        said = list(takewhile(lambda line: "Ctrl-C" not in line, program.stdout))
        wanted = [line for line in said if line.strip().startswith(("export", "echo"))]
        assert len(wanted) == 3, said
        subprocess.run(["bash", "-euo", "pipefail", "-c", "".join(wanted)], check=True, timeout=PATIENCE_S)
        chris, helen = (device_of(stack, login) for login in (CHRIS, HELEN))
        wait_for(lambda: "Court is over." in newest_texts(chris, "im/conversations/"), what="Dana's message")
        wait_for(lambda: "Are you in the office?" in newest_texts(helen, "conversations/"), what="Helen's text")
        assert chris.get("xmpp/")["status"] == "online"
    finally:
        program.send_signal(signal.SIGINT)
        assert program.wait(PATIENCE_S) == 0
    assert chris.call("GET", "xmpp/").status_code == 404


def newest_texts(device: Device, conversations: str) -> list[str]:
    """The newest messages of each conversation."""
    found: list[str] = []
    for row in device.get(conversations)["results"]:
        found += [message["text"] for message in device.get(f"{conversations}{row['id']}/messages/")["results"]]
    return found


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
            assert "\nBusy\n" in run_the_commands_of(first, "im")
            assert "priya.raman@im.sandbox.example" in run_the_commands_of(first, "broadworks")
            make_xmpp(first)
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
