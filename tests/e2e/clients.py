"""Whoever talks to the portal from outside: a program with a token, and a client that listens to the event stream."""

from __future__ import annotations

import http.client
import json
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from tests.process_secrets import hear, hear_answer

PATIENCE_S = 60


class Api:
    """REST with a bearer token. Methods return the answer; `ok` also checks the status and returns the JSON."""

    def __init__(self, url: str, token: str = "", base: str = "/api/v1/") -> None:
        self.url, self.token, self._base = url, token, base
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        answer = self._session.request(method, f"{self.url}{self._base}{path}", json=body, timeout=60, **more)
        hear_answer(self.url, answer.text)
        return answer

    def get(self, path: str, **query: Any) -> Any:
        return self.ok(200, self.call("GET", path, params=query))

    def post(self, path: str, body: Any = None, status: int = 201, **more: Any) -> Any:
        return self.ok(status, self.call("POST", path, {} if body is None else body, **more))

    def patch(self, path: str, body: Any, status: int = 200) -> Any:
        return self.ok(status, self.call("PATCH", path, body))

    def delete(self, path: str, status: int = 204) -> Any:
        return self.ok(status, self.call("DELETE", path))

    @staticmethod
    def ok(status: int, answer: requests.Response) -> Any:
        assert answer.status_code == status, f"{answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


def staff_api(url: str, token: str) -> Api:
    return Api(url, token, "/api/v1/provisioning/")


class Device(Api):
    """A client of an end user, logged in."""

    def __init__(self, url: str, login: str, password: str, device: str = "e2e") -> None:
        answer = Api(url).post("login/", {"login": login, "password": password, "device": device}, status=200)
        super().__init__(url, answer["token"])
        self.user = answer["user"]

    def session(self) -> Any:
        return self.get("session/")

    def message(self, message_id: str) -> Any:
        return self.get(f"messages/{message_id}/")

    def send(self, to: str, text: str, **more: Any) -> Any:
        return self.post("messages/", {"to": to, "text": text, **more}, status=202)

    def stream(self, after: int | None = None) -> Stream:
        return Stream(self, after)


class Stream:
    """An open event stream: a thread reads, the test waits for what it wants."""

    def __init__(self, device: Device, after: int | None) -> None:
        self._url = device.url
        self._connection = http.client.HTTPConnection(urlsplit(device.url).netloc, timeout=PATIENCE_S)
        query = "" if after is None else f"?after={after}"
        headers = {"Authorization": f"Bearer {device.token}", "Accept": "text/event-stream"}
        self._connection.request("GET", f"/api/v1/events/{query}", headers=headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()
        assert self._answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        self.seen: list[dict[str, Any]] = []
        self._frames: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.hello = self.wait(lambda event: event["type"] == "hello")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        try:
            while line := self._answer.readline():
                hear(self._url, line)
                if line.startswith(b"data: "):
                    self._frames.put(json.loads(line[6:]))
        except (OSError, http.client.HTTPException):
            pass  # cut
        self._frames.put({"id": None, "type": "end", "data": {}})

    def wait(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The next event that is `wanted`; those before it are in `seen` too."""
        while True:
            try:
                event = self._frames.get(timeout=seconds)
            except queue.Empty:
                raise AssertionError(f"nothing came; seen so far: {self.seen}") from None
            self.seen.append(event)
            if wanted(event):
                return event
            assert event["type"] != "end", f"the stream ended; seen so far: {self.seen}"

    def wait_for(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The data of the next event of `kind` whose data has these fields."""

        def wanted(event: dict[str, Any]) -> bool:
            data = event["data"]
            return event["type"] == kind and all(data.get(name) == value for name, value in fields.items())

        data: dict[str, Any] = self.wait(wanted)["data"]
        return data

    @property
    def cursor(self) -> int:
        """The number of the last event that came, to go on from."""
        numbers = [event["id"] for event in self.seen if event.get("id")]
        cursor: int = numbers[-1] if numbers else self.hello["cursor"]
        return cursor

    def close(self) -> None:
        """Cut the connection, as a client that crashes does."""
        assert self._connection.sock is not None
        self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._reader.join(PATIENCE_S)
        self._connection.close()
