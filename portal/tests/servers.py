"""A real web server on the test database, and a client that reads an event stream line by line."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connection

from tests.ports import free_port
from tests.secret_scan import scan

PATIENCE_S = 120


def environment() -> dict[str, str]:
    """What a process needs to work on this test run's database and secrets."""
    return {
        **os.environ,
        "DATABASE_URL": _database_url(),
        # SQLite without DEBUG is meant here.
        "PORTAL_SINGLE_HOST": "1",
        "SECRET_KEY": settings.SECRET_KEY,
        "PORTAL_ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "PORTAL_VAR_DIR": str(settings.VAR_DIR),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }


def _database_url() -> str:
    row = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{row['NAME']}"
    password = f":{row['PASSWORD']}" if row["PASSWORD"] else ""
    return f"postgres://{row['USER']}{password}@{row['HOST']}:{row['PORT']}/{row['NAME']}"


@contextmanager
def running_server() -> Iterator[Server]:
    """`uvicorn portal.asgi:application` until the context ends."""
    server = Server(free_port())
    try:
        server.wait_until_up()
        yield server
    finally:
        server.process.terminate()
        server.process.wait(PATIENCE_S)


class Server:
    def __init__(self, port: int) -> None:
        self.port = port
        command = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(port)]
        self.process = subprocess.Popen(
            [*command, "--log-level", "warning", "--timeout-graceful-shutdown", "10"],
            env=environment(),
            cwd=Path(settings.BASE_DIR),
        )

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.get("/healthz").status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        chunked: bool = False,
        **headers: str,
    ) -> http.client.HTTPResponse:
        """One request; the answer's body is not read yet."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            named["Authorization"] = f"Bearer {token}"
        if body is not None:
            named["Content-Type"] = "application/json"
        raw = None if body is None else json.dumps(body).encode()
        client.request(method, path, body=iter([raw]) if chunked and raw else raw, headers=named)
        return client.getresponse()

    def get(self, path: str, *, token: str | None = None, **headers: str) -> http.client.HTTPResponse:
        return self.request("GET", path, token=token, **headers)

    def stream(self, token: str, query: str = "", **headers: str) -> StreamClient:
        """An open event stream, its greeting already read."""
        answer = self.get(f"/api/v1/events/{query}", token=token, Accept="text/event-stream", **headers)
        assert answer.status == 200, answer.read()
        return StreamClient(answer)


class StreamClient:
    """Reads frames; `hello` is the first one's data."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.answer = answer
        first = self.frame()
        assert first["retry"] == "3000"
        assert first["event"] == "hello"
        assert "id" not in first
        self.hello = json.loads(first["data"])

    def frame(self) -> dict[str, str]:
        """The next frame as field → value; comments are left out; {} at the end of the stream."""
        fields: dict[str, str] = {}
        while True:
            raw = self.answer.readline()
            scan.note("an event stream", raw)
            if not raw:
                return fields
            assert raw.endswith(b"\n")
            assert not raw.endswith(b"\r\n")
            text = raw.decode().removesuffix("\n")
            if text.startswith(":"):
                continue
            if not text:
                if fields:
                    return fields
                continue
            name, _, value = text.partition(": ")
            fields[name] = value

    def event(self) -> dict:
        """The data of the next frame, whose own id and event agree with it; {} at the end."""
        frame = self.frame()
        if not frame:
            return {}
        data = json.loads(frame["data"])
        assert frame["event"] == data["type"]
        assert frame.get("id") == (None if data["id"] is None else str(data["id"]))
        return data

    def close(self) -> None:
        self.answer.close()
