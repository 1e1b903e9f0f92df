"""A carrier that takes every text and answers after 50 ms, as plain as can be: `python -m … PORT`.

`POST …/publishMessages` is Inteliquent's way to send, `GET /sendsms` the one Kannel is set up for. `GET /taken` counts
what was answered, and how many different texts that were. Between `PUT /hold` and `PUT /release` nothing is answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid

from aiohttp import web

LATENCY_S = 0.05
_taken: list[str] = []
_open = asyncio.Event()


async def publish(request: web.Request) -> web.Response:
    data = json.loads(await request.read())
    await _take(data["to"][0])
    done = {"success": True, "reason": "SUCCESS", "detail": "SUCCESS"}
    recipients = [{"to": data["to"][0], "status": "SUCCESS"}]
    result = {"referenceId": uuid.uuid4().hex, "resultResponses": recipients}
    return web.json_response({**done, "result": result})


async def sendsms(request: web.Request) -> web.Response:
    await _take(request.query["to"])
    return web.Response(text="0: Accepted for delivery")


async def _take(to: str) -> None:
    await _open.wait()
    await asyncio.sleep(LATENCY_S)
    _taken.append(to[-10:])


async def taken(request: web.Request) -> web.Response:
    answer = {"taken": len(_taken), "different": len(set(_taken))}
    if request.query.get("forget"):
        _taken.clear()
    return web.json_response(answer)


async def hold(request: web.Request) -> web.Response:
    _open.clear()
    return web.Response(status=204)


async def release(request: web.Request) -> web.Response:
    _open.set()
    return web.Response(status=204)


def main(port: int) -> None:
    _open.set()
    application = web.Application()
    application.router.add_post("/{tail:.*}publishMessages", publish)
    application.router.add_get("/sendsms", sendsms)
    application.router.add_get("/taken", taken)
    application.router.add_put("/hold", hold)
    application.router.add_put("/release", release)
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
