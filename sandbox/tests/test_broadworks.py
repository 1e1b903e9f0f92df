"""The simulated BroadWorks, by its own wire: documents over TCP, the control interface, the Prosody accounts."""

from __future__ import annotations

import asyncio
import hashlib
import re

import pytest

OPENING = (
    '<?xml version="1.0" encoding="ISO-8859-1"?><BroadsoftDocument protocol="OCI" xmlns="C" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><sessionId xmlns="">1</sessionId>'
)


def written(name: str, **fields: str) -> bytes:
    content = "".join(f"<{key}>{value}</{key}>" for key, value in fields.items())
    return f'{OPENING}<command xsi:type="{name}" xmlns="">{content}</command></BroadsoftDocument>\n'.encode(
        "iso-8859-1"
    )


class Client:
    """An OCI-P client in twenty lines."""

    def __init__(self, sandbox):
        self.port = sandbox.port + 8

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def ask(self, name: str, **fields: str) -> str:
        self.writer.write(written(name, **fields))
        found = await asyncio.wait_for(self.reader.readuntil(b"</BroadsoftDocument>"), 20)
        return found.decode("iso-8859-1")

    async def log_in(self, password: str = "sandbox-admin-password") -> str:
        asked = await self.ask("AuthenticationRequest", userId="sandbox-admin")
        nonce = re.search("<nonce>(.*)</nonce>", asked)[1]
        inner = hashlib.sha1(password.encode()).hexdigest()
        signed = hashlib.md5(f"{nonce}:{inner}".encode()).hexdigest()
        return await self.ask("LoginRequest14sp4", userId="sandbox-admin", signedPassword=signed)


async def test_nothing_is_answered_before_the_login(sandbox, wire):
    await wire.control("PUT", "broadworks/users/a@x/", {})
    async with Client(sandbox) as client:
        assert "[Error 5031]" in await client.ask("UserGetRequest23V2", userId="a@x")
        assert "[Error 5004]" in await client.log_in("wrong")
        assert "LoginResponse14sp4" in await client.log_in()
        assert "<impId>a@im.sandbox.example</impId>" in await client.ask("UserGetRequest23V2", userId="a@x")
        assert "[Error 4008]" in await client.ask("UserGetRequest23V2", userId="b@x")
        assert "[Error 4010]" in await client.ask("UserGetRequest99", userId="a@x")


async def test_passwords_are_counted_and_a_put_keeps_the_count(sandbox, wire):
    await wire.control("PUT", "broadworks/users/a@x/", {"password": "login", "mobile": None, "device": {"name": "d"}})
    async with Client(sandbox) as client:
        await client.log_in()
        await client.ask("UserModifyRequest22", userId="a@x", impPassword="one two three")
        assert "[Error 27000]" in await client.ask("UserModifyRequest22", userId="a@x", impId="other@x")
    shown = await wire.control("PUT", "broadworks/users/a@x/", {"imp": {"assigned": False}})
    assert shown["imp_password_set_count"] == 1
    assert shown["imp"] == {"assigned": False, "active": True, "id": None}


@pytest.mark.parametrize(("kind", "end"), [("drop", b""), ("reset", None)])
async def test_faults_by_the_name_of_the_command(sandbox, wire, kind, end):
    """After `after_accept` the command was carried out although its answer went wrong."""
    await wire.control("PUT", "broadworks/users/a@x/", {})
    order = {"operation": "UserModifyRequest22", "after_accept": True, "fault": {"kind": kind}}
    await wire.control("POST", "broadworks/faults/", order)
    async with Client(sandbox) as client:
        await client.log_in()
        client.writer.write(written("UserModifyRequest22", userId="a@x", impPassword="one two three"))
        if end is None:
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(client.reader.read(), 20)
        else:
            assert (await asyncio.wait_for(client.reader.read(), 20)).strip() == end
    assert (await wire.control("GET", "broadworks/users/a@x/"))["imp_password_set_count"] == 1


async def test_an_error_response_says_what_was_ordered(sandbox, wire):
    fault = {"kind": "error_response", "code": "4444", "summary": "Not now"}
    made = await wire.control("POST", "broadworks/faults/", {"operation": "*", "times": None, "fault": fault})
    async with Client(sandbox) as client:
        assert "[Error 4444] Not now" in await client.ask("AuthenticationRequest", userId="x")
        await wire.control("DELETE", f"broadworks/faults/{made['id']}/", expect=204)
        assert "AuthenticationResponse" in await client.ask("AuthenticationRequest", userId="x")


async def test_refusing_closes_both_doors(sandbox, wire):
    await wire.control("PUT", "broadworks/", {"state": "refusing"})
    for port in (sandbox.port + 5, sandbox.port + 8):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    await wire.control("POST", "reset/", {}, expect=204)
    async with Client(sandbox) as client:
        assert "LoginResponse14sp4" in await client.log_in()


async def test_passwords_reach_the_accounts_of_a_prosody(sandbox, wire, tmp_path):
    """In the file format of Prosody's internal storage, quotes and all."""
    await wire.control("PUT", "broadworks/", {"xmpp_accounts": str(tmp_path), "imp_domain": "im-1.example"})
    await wire.control("PUT", "broadworks/users/j.doe@x/", {})
    async with Client(sandbox) as client:
        await client.log_in()
        await client.ask("UserModifyRequest22", userId="j.doe@x", impPassword="a&quot;b\\cé")
    file = tmp_path / "im%2d1%2eexample" / "accounts" / "j%2edoe.dat"
    assert file.read_text() == 'return {\n\t["password"] = "a\\034b\\092c\\195\\169";\n};\n'


async def test_xsi_shows_the_profile_to_its_user(sandbox, wire):
    await wire.control("PUT", "broadworks/users/a@x/", {"password": "login", "country_code": "44", "first_name": "A"})
    url = f"http://127.0.0.1:{sandbox.port + 5}/broadworks/com.broadsoft.xsi-actions/v2.0/user/a@x/profile"
    assert (await wire.request("GET", url))[0] == 401
    status, body = await wire.request("GET", url, auth=("a@x", "login"))
    assert status == 200
    assert "<countryCode>44</countryCode>" in body
    assert "<impUserId>a@im.sandbox.example</impUserId>" in body


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("PUT", "broadworks/", {"state": "down"}, "state"),
        ("PUT", "broadworks/users/a/", {"imp": {"on": True}}, "imp.on"),
        ("PUT", "broadworks/users/a/", {"device": {}}, "device.name"),
        ("POST", "broadworks/faults/", {"fault": {"kind": "explode"}}, "fault.kind"),
    ],
)
async def test_wrong_input_is_named(wire, method, path, body, named):
    assert named in (await wire.control(method, path, body, expect=400))["errors"]
