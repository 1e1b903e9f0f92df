"""What every handler of the control API needs: bodies in, answers and refusals out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from sandbox.carrier import Carrier
from sandbox.fields import BadInput

if TYPE_CHECKING:
    from sandbox.app import Sandbox

NO_CONTENT = 204
SANDBOX: web.AppKey[Sandbox] = web.AppKey("sandbox")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Row(Protocol):
    def as_json(self) -> dict[str, Any]: ...


class Refusal(Exception):
    """An answer other than 400: what stands in the way, with a code and a sentence."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


def answer(data: Any, status: int = 200) -> web.Response:
    return web.json_response(data, status=status)


def sandbox_of(request: web.Request) -> Sandbox:
    return request.app[SANDBOX]


def carrier_of(request: web.Request) -> Carrier:
    carriers, name = sandbox_of(request).carriers, request.match_info["carrier"]
    if name not in carriers:
        raise Refusal(404, "not_found", f"No simulator is called {name}; there are: {', '.join(carriers)}, mail.")
    return carriers[name]


async def read_body(request: web.Request) -> Any:
    """The JSON of the body; {} when there is none. Raises BadInput."""
    try:
        return json.loads(await request.read() or b"{}")
    except ValueError:
        raise BadInput({"body": ["must be JSON"]}) from None


def after(request: web.Request) -> int:
    value = request.query.get("after") or "0"
    if not value.isdecimal():
        raise BadInput({"after": ["must be the `n` of a row"]})
    return int(value)


def rows(numbered: Iterable[tuple[int, Row]]) -> list[dict[str, Any]]:
    return [{"n": n, **row.as_json()} for n, row in numbered]


def problem(status: int, code: str, detail: str, errors: Mapping[str, list[str]] | None = None) -> web.Response:
    body = {"code": code, "status": status, "detail": detail, **({"errors": errors} if errors else {})}
    return web.json_response(body, status=status, content_type="application/problem+json")


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal of the control API is JSON and says what is wrong."""
    if not request.path.startswith("/_control/"):
        return await handler(request)
    try:
        return await handler(request)
    except BadInput as error:
        said = "; ".join(f"{name}: {' '.join(sentences)}" for name, sentences in error.errors.items())
        return problem(400, "invalid", said, error.errors)
    except Refusal as refusal:
        return problem(refusal.status, refusal.code, refusal.detail)
    except web.HTTPNotFound:
        return problem(404, "not_found", f"There is no {request.path}; every path ends in a slash.")
    except web.HTTPMethodNotAllowed as error:
        return problem(405, "method_not_allowed", f"{error.method} is not possible here.")
    except web.HTTPRequestEntityTooLarge:
        return problem(413, "too_large", "The body is too large.")
