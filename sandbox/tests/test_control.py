"""The control API itself, the mail sink and the command line."""

import asyncio
import signal
import smtplib
import sys
from email.message import EmailMessage

import pytest

from sandbox.parties import e164


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("PUT", "inteliquent/", {"stat": "up"}, "stat"),
        ("PUT", "inteliquent/", {"state": "down"}, "state"),
        ("PUT", "inteliquent/", {"credentials": {"api_kee": "x"}}, "credentials.api_kee"),
        ("PUT", "inteliquent/numbers/+12019920700/", {"messaging": "FAX"}, "messaging"),
        ("PUT", "inteliquent/numbers/abc/", {}, "tn"),
        ("POST", "inteliquent/faults/", {"operation": "send"}, "fault"),
        ("POST", "inteliquent/faults/", {"fault": {"kind": "explode"}}, "fault.kind"),
        ("PUT", "inteliquent/receipts/", {"mode": "sometimes"}, "mode"),
        ("POST", "inteliquent/receipts/", {}, "sid"),
        ("POST", "inteliquent/inbound/", {"to": "+12019920781"}, "from"),
        ("POST", "inteliquent/inbound/", {"to": "1", "raw": {"body_base64": "?"}}, "raw.body_base64"),
        ("GET", "inteliquent/messages/?after=x", None, "after"),
        ("PATCH", "", {"echo": "yes"}, "echo"),
        ("PUT", "mail/", {"state": "full"}, "state"),
        ("POST", "reset/", {"all": True}, "all"),
    ],
)
async def test_wrong_input_is_a_400_that_names_it(wire, method, path, body, named):
    problem = await wire.control(method, path, body, expect=400)
    assert named in problem["errors"]
    assert named in problem["detail"]


async def test_unknown_things_are_404_in_json(wire):
    for path in ("pigeons/", "inteliquent/nothing/", "inteliquent/numbers/+12019920789/"):
        assert (await wire.control("GET", path, expect=404))["code"] == "not_found"
    assert (await wire.control("DELETE", "inteliquent/", expect=405))["code"] == "method_not_allowed"


async def test_a_put_changes_only_what_it_names_and_new_credentials_count_at_once(wire):
    await wire.control("PUT", "inteliquent/", {"latency_ms": 1, "credentials": {"outbound_api_key": "new"}})
    shown = await wire.control("PUT", "inteliquent/", {"errors": "body"})
    assert (shown["latency_ms"], shown["errors"], shown["state"]) == (1, "body", "up")
    assert shown["credentials"]["outbound_api_key"] == "new"
    assert (await wire.send())[0] == 401
    assert (await wire.broker("selectAuthorization", {}, key="new"))[0] == 200


async def test_the_documented_numbers_are_there_and_the_unknown_one_is_not(wire):
    numbers = {row["tn"]: row for row in (await wire.control("GET", "inteliquent/numbers/"))["results"]}
    assert len(numbers) == 40
    assert {"+12012010580", "+12019920778", "+12019920780", "+12019920781", "+12019920788"} <= numbers.keys()
    assert "+12019920789" not in numbers
    added = await wire.control("PUT", "inteliquent/numbers/+12019920789/", {"messaging": "SMS"})
    assert added == {
        "tn": "+12019920789",
        "status": "in_service",
        "messaging": "SMS",
        "class": "P2P",
        "campaign": None,
    }


async def test_reset_brings_everything_back_to_the_start(wire, portal):
    before = [await wire.control("GET", path) for path in ("", "inteliquent/", "inteliquent/numbers/")]
    await wire.control("PATCH", "", {"echo": True})
    await wire.set_hook(f"{portal.url}/hook/")
    await wire.control("PUT", "inteliquent/receipts/", {"delay_s": 60})
    await wire.send()
    await wire.control("DELETE", "inteliquent/numbers/+12019920781/")
    await wire.control("POST", "inteliquent/faults/", {"fault": {"kind": "html"}})
    await wire.control("PUT", "inteliquent/", {"state": "refusing", "credentials": {"api_key": "x"}})
    await wire.control("PUT", "mail/", {"state": "refusing"})
    await wire.control("POST", "reset/", {}, expect=204)
    assert [await wire.control("GET", path) for path in ("", "inteliquent/", "inteliquent/numbers/")] == before
    for name in ("messages", "requests", "deliveries", "hooks", "faults"):
        assert (await wire.control("GET", f"inteliquent/{name}/"))["results"] == []
    assert (await wire.control("GET", "mail/"))["state"] == "up"
    assert (await wire.send())[0] == 200
    assert (await wire.messages())[0]["n"] == 1


async def test_mail_is_taken_shown_filtered_and_emptied(wire):
    await _mail(wire, "One: 2019920781", "plain words", "<b>html</b>")
    await _mail(wire, "Two", "other")
    shown = (await wire.control("GET", "mail/?subject=one"))["results"]
    assert [row["n"] for row in shown] == [1]
    assert (shown[0]["from"], shown[0]["to"]) == ("portal@example.com", ["admin@example.com"])
    assert (shown[0]["text"].strip(), shown[0]["html"].strip()) == ("plain words", "<b>html</b>")
    assert len((await wire.control("GET", "mail/?to=ADMIN@example.com&after=1"))["results"]) == 1
    assert (await wire.control("GET", "mail/?to=nobody@example.com"))["results"] == []
    await wire.control("DELETE", "mail/", expect=204)
    assert (await wire.control("GET", "mail/"))["results"] == []


async def test_a_mail_server_in_trouble(wire):
    await wire.control("PUT", "mail/", {"state": "rejecting"})
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        await _mail(wire, "No", "x")
    await wire.control("PUT", "mail/", {"state": "refusing"})
    with pytest.raises(ConnectionRefusedError):
        await _mail(wire, "No", "x")
    await wire.control("PUT", "mail/", {"state": "up"})
    await _mail(wire, "Yes", "x")
    assert [row["subject"] for row in (await wire.control("GET", "mail/"))["results"]] == ["Yes"]


async def test_ports_listen_on_the_loopback_interface_only(sandbox):
    ports = [sandbox.mail.port, *sandbox._ports.values()]
    addresses = {sock.getsockname()[0] for port in ports for sock in port._server.sockets}
    assert addresses == {"127.0.0.1"}


@pytest.mark.parametrize("arguments", [["-m", "sandbox"], ["manage.py", "sandbox"]])
async def test_the_command_line_starts_says_so_and_ends_on_sigterm(arguments, pytestconfig, free_ports):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        "--port",
        str(free_ports),
        "--echo",
        cwd=pytestconfig.rootpath,
        stdout=asyncio.subprocess.PIPE,
    )
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line.decode().strip() == f"sandbox ready http://127.0.0.1:{free_ports}"
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_a_port_in_use_is_said_in_a_sentence(sandbox, pytestconfig):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox", "--port", str(sandbox.port)),
        cwd=pytestconfig.rootpath,
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"The sandbox cannot start" in error
    assert b"Traceback" not in error


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("12019920781", "+12019920781"),
        ("(201) 992-0781", "+12019920781"),
        (" 12019920781", "+12019920781"),
        ("+4512345678", "+4512345678"),
        ("55555", "55555"),
        ("BANK", "BANK"),
    ],
)
def test_numbers_are_shown_in_e164_and_short_codes_as_they_are(written, shown):
    assert e164(written) == shown


async def _mail(wire, subject, text, html=None):
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = subject, "portal@example.com", "admin@example.com"
    mail.set_content(text)
    if html:
        mail.add_alternative(html, subtype="html")
    await asyncio.to_thread(_send_mail, wire.sandbox.mail.port.number, mail)


def _send_mail(port, mail):
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.send_message(mail)
