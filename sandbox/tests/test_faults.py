"""States of a carrier and faults on order."""

import asyncio
import socket

import aiohttp
import pytest


async def test_refusing_closes_the_port_and_its_connections_and_up_opens_it_again(wire):
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.sandbox.port + 1)
    await wire.control("PUT", "inteliquent/", {"state": "refusing"})
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await wire.send()
    url = f"{wire.sandbox.url}/inteliquent/broker/msgbroker/rest/selectAuthorization"
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await wire.session.post(url, json={})
    await wire.control("PUT", "inteliquent/", {"state": "up"})
    assert (await wire.send())[0] == 200


async def test_unavailable_is_503_and_nothing_is_taken(wire):
    await wire.control("PUT", "inteliquent/", {"state": "unavailable"})
    assert (await wire.send())[0] == 503
    assert await wire.messages() == []


async def test_hanging_accepts_and_never_answers(wire):
    await wire.control("PUT", "inteliquent/", {"state": "hanging"})
    waiting = asyncio.create_task(wire.send())
    await wire.first("requests")
    assert not waiting.done()
    await wire.control("PUT", "inteliquent/", {"state": "up"})
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await waiting
    assert await wire.messages() == []
    assert (await wire.control("GET", "inteliquent/requests/"))["results"][0]["http_status"] is None


@pytest.mark.parametrize(
    ("fault", "mode", "status", "part"),
    [
        ({"kind": "status", "status": 500}, "http", 500, "'statusCode': '500'"),
        ({"kind": "status", "status": 200, "code": "408", "text": "No"}, "http", 200, "'statusCode': '408'"),
        ({"kind": "status", "code": "414"}, "body", 200, "'statusCode': '414'"),
        ({"kind": "status", "status": 401}, "http", 401, "Invalid API key"),
        ({"kind": "refuse", "text": "Spam"}, "body", 200, "'success': False"),
        ({"kind": "refuse", "text": "Spam"}, "http", 408, "Spam"),
        ({"kind": "html"}, "http", 502, "<html>"),
        ({"kind": "xml"}, "http", 401, "900901"),
        ({"kind": "throttle"}, "http", 431, "try again"),
        ({"kind": "throttle"}, "body", 200, "'statusCode': '431'"),
        ({"kind": "throttle", "status": 429}, "http", 429, "429"),
    ],
)
async def test_faults_that_answer(wire, fault, mode, status, part):
    await wire.control("PUT", "inteliquent/", {"errors": mode})
    await wire.control("POST", "inteliquent/faults/", {"operation": "send", "times": 1, "fault": fault}, expect=201)
    got, answer = await wire.send()
    assert got == status
    assert part in str(answer)
    assert await wire.messages() == []
    assert (await wire.send())[0] == 200


async def test_reset_is_a_real_reset(wire):
    await wire.control("POST", "inteliquent/faults/", {"operation": "list", "fault": {"kind": "reset"}})
    request = b"POST /inteliquent/broker/x/selectAuthorization HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", wire.sandbox.port + 1)) as connection:
        connection.setblocking(False)
        await loop.sock_sendall(connection, request)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(loop.sock_recv(connection, 100), 10)


async def test_timeout_holds_the_connection_and_closes_it(wire):
    fault = {"kind": "timeout", "delay_s": 0.2}
    await wire.control("POST", "inteliquent/faults/", {"operation": "*", "fault": fault})
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await wire.send()
    [listed] = (await wire.control("GET", "inteliquent/faults/"))["results"]
    assert listed["times"] == 0


async def test_after_accept_the_text_is_taken_and_the_answer_is_lost(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/")
    order = {"operation": "send", "after_accept": True, "fault": {"kind": "reset"}}
    await wire.control("POST", "inteliquent/faults/", order)
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await wire.send()
    [message] = await wire.messages()
    assert message["answered"] is False
    _, receipt = await portal.next_post()
    assert message["sid"].encode() in receipt


async def test_a_fault_for_one_recipient_or_operation_leaves_the_others_alone(wire):
    order = {"operation": "send", "times": None, "to": "+12015550199", "fault": {"kind": "refuse"}}
    created = await wire.control("POST", "inteliquent/faults/", order)
    assert (await wire.send())[0] == 200
    assert (await wire.services("tnAssignedList", {}))[0] == 200
    for _ in range(2):
        assert (await wire.send(to="12015550199"))[0] == 408
    await wire.control("DELETE", f"inteliquent/faults/{created['id']}/", expect=204)
    assert (await wire.send(to="12015550199"))[0] == 200


@pytest.mark.parametrize(
    ("operation", "name", "is_broker"),
    [
        ("verify", "tnFeatureMessageList", False),
        ("number", "tnDetail", False),
        ("list", "messageDetailSearch", False),
        ("list", "selectAuthorization", True),
        ("hook", "configureAuthorization", True),
        ("unhook", "removeAuthorization", True),
    ],
)
async def test_each_operation_can_be_broken_by_its_name(wire, operation, name, is_broker):
    order = {"operation": operation, "fault": {"kind": "html"}}
    await wire.control("POST", "inteliquent/faults/", order)
    call = wire.broker if is_broker else wire.services
    assert (await call(name, {}))[0] == 502


async def test_a_client_that_is_gone_before_the_answer_is_seen(wire):
    await wire.control("PUT", "inteliquent/", {"latency_ms": 1000})
    waiting = asyncio.create_task(wire.send())
    await wire.first("messages")
    waiting.cancel()
    await wire.control("PUT", "inteliquent/", {"latency_ms": 0})
    await asyncio.sleep(1.3)
    assert [row["answered"] for row in await wire.messages()] == [False]
