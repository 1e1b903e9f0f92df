"""The `/_control/broadworks/` interface: users, faults, requests, and the accounts of the messaging server."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox.broadworks.party import KINDS, Broadworks
from sandbox.broadworks.users import GROUP, SERVICE_PROVIDER, UC_ONE, Device, User
from sandbox.carrier import STATES
from sandbox.control_base import NO_CONTENT, Refusal, after, answer, read_body, rows, sandbox_of
from sandbox.faults import KINDS as COMMON_KINDS
from sandbox.fields import BadInput, amount, flag, mapping, read_fields, text, whole, word

SETTINGS = {
    "state": word(*STATES),
    "latency_ms": amount(),
    "credentials": mapping(),
    "xmpp_accounts": text().or_null(),
    "imp_domain": text(),
}
USER = {
    "password": text(""),
    "imp": mapping({}),
    "imp_password": text().or_null(),
    "country_code": text("1"),
    "mobile": text().or_null(),
    "device": mapping().or_null(),
    "first_name": text(""),
    "last_name": text(""),
    "extension": text(""),
    "phone_number": text(""),
    "email": text(""),
    "service_provider": text(SERVICE_PROVIDER),
    "group": text(GROUP),
}
IMP = {"assigned": flag(True), "active": flag(True), "id": text().or_null()}
DEVICE = {"name": text(), "type": text(UC_ONE), "tags": mapping({})}
FAULT_ORDER = {
    "operation": text("*"),
    "times": whole(1, default=1).or_null(),
    "to": text().or_null(),
    "after_accept": flag(False),
    "fault": mapping(),
}
FAULT = {
    "kind": word(*COMMON_KINDS, *KINDS),
    "status": whole(200).or_null(),
    "code": text().or_null(),
    "text": text().or_null(),
    "summary": text().or_null(),
    "delay_s": amount(0),
}


def party_of(request: web.Request) -> Broadworks:
    return sandbox_of(request).broadworks


async def show(request: web.Request) -> web.Response:
    return answer(party_of(request).as_json())


async def change(request: web.Request) -> web.Response:
    """PUT changes what is given and leaves the rest."""
    party = party_of(request)
    given = read_fields(await read_body(request), SETTINGS, partial=True)
    names = dict.fromkeys(party.credentials, text())
    party.credentials |= read_fields(given.pop("credentials", {}), names, partial=True, prefix="credentials.")
    state = given.pop("state", None)
    for name, value in given.items():
        setattr(party.settings, name, value)
    _mirror(party)
    if state is not None:
        await sandbox_of(request).set_broadworks_state(state)
    return answer(party.as_json())


async def list_users(request: web.Request) -> web.Response:
    party = party_of(request)
    return answer({"results": [user.as_json(party.imp_domain) for user in party.users.values()]})


async def put_user(request: web.Request) -> web.Response:
    """A new user, or another state of one; what was counted of one goes on."""
    party, login = party_of(request), request.match_info["login"]
    given = read_fields(await read_body(request), USER)
    imp = read_fields(given.pop("imp"), IMP, prefix="imp.")
    device = _device(given.pop("device"))
    user = User(login, **given, assigned=imp["assigned"], active=imp["active"], own_imp_id=imp["id"], device=device)
    before = party.users.get(login)
    if before is not None:
        user.imp_password_set_count = before.imp_password_set_count
        user.imp_password = before.imp_password if user.imp_password is None else user.imp_password
    party.users[login] = user
    _mirror(party)
    return answer(user.as_json(party.imp_domain))


async def show_user(request: web.Request) -> web.Response:
    return answer(_user(request).as_json(party_of(request).imp_domain))


async def delete_user(request: web.Request) -> web.Response:
    del party_of(request).users[_user(request).login]
    return web.Response(status=NO_CONTENT)


async def list_faults(request: web.Request) -> web.Response:
    return answer({"results": [fault.as_json() for fault in party_of(request).faults.rows]})


async def add_fault(request: web.Request) -> web.Response:
    order = read_fields(await read_body(request), FAULT_ORDER)
    fault = read_fields(order.pop("fault"), FAULT, prefix="fault.")
    summary = fault.pop("summary")
    fault["text"] = summary if summary is not None else fault["text"]
    return answer(party_of(request).faults.add(**order, **fault).as_json(), 201)


async def delete_fault(request: web.Request) -> web.Response:
    if not party_of(request).faults.remove(request.match_info["fault"]):
        raise Refusal(404, "not_found", "There is no fault with this id.")
    return web.Response(status=NO_CONTENT)


async def list_requests(request: web.Request) -> web.Response:
    return answer({"results": rows(party_of(request).requests.after(after(request)))})


def _user(request: web.Request) -> User:
    user = party_of(request).users.get(request.match_info["login"])
    if user is None:
        raise Refusal(404, "not_found", "BroadWorks has no user with this login.")
    return user


def _device(given: dict[str, Any] | None) -> Device | None:
    if given is None:
        return None
    device = read_fields(given, DEVICE, prefix="device.")
    tags = {name: str(value) for name, value in device["tags"].items()}
    return Device(device["name"], device["type"], tags)


def _mirror(party: Broadworks) -> None:
    try:
        party.mirror_all()
    except OSError as error:
        raise BadInput({"xmpp_accounts": [f"cannot be written: {error.strerror}"]}) from None


def add_routes(router: web.UrlDispatcher) -> None:
    base = "/_control/broadworks/"
    for method, path, handler in [
        ("GET", "", show),
        ("PUT", "", change),
        ("GET", "users/", list_users),
        ("GET", "users/{login}/", show_user),
        ("PUT", "users/{login}/", put_user),
        ("DELETE", "users/{login}/", delete_user),
        ("GET", "faults/", list_faults),
        ("POST", "faults/", add_fault),
        ("DELETE", "faults/{fault}/", delete_fault),
        ("GET", "requests/", list_requests),
    ]:
        router.add_route(method, base + path, handler)
