"""A pytest plugin: no secret that a test made may stand in anything the portal put out during it.

Known to be secret is whatever goes into an encrypted field (XMPP passwords, those of BroadWorks and of components among
them), every API token, password, also a typed one that was refused, recovery code, and the keys of the installation.
Looked through after each test: log lines as they are written, what was printed (by servers that a test started as
well), what went to the database in plain, to the broker and to Redis, every answer of the site and the API, and what
was read of event streams. A leak fails the test. Of whole installations it is process_secrets.py that looks through
what they put out.

An answer may show a secret that was made in the same request (a new token, shown once), and what `SHOWN` names. Tests
whose generated values stand in several fields at once, passwords among them, say so by the mark `same_values`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any

import psycopg
import pytest

# What an answer may show later, by the kind of secret: contracts section 3 (the webhook's URL, to administrators), and
# the second factor while it is being set up.
SHOWN = {"CpaasPlatform.webhook_secret", "SecondFactor.secret"}
# Shorter or simpler ones are in many texts by chance.
_MIN_LENGTH = 12
_MIN_DIFFERENT = 6
_MANY = 20_000


class Scan:
    """What is secret, what was put out since the last look, and what leaked."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.lasting: dict[str, str] = {}
        self.put_out: list[tuple[str, Any]] = []
        self.leaks: set[str] = set()

    def learn(self, secret: object, kind: str) -> None:
        if isinstance(secret, str) and len(secret) >= _MIN_LENGTH and len(set(secret)) >= _MIN_DIFFERENT:
            self.secrets.setdefault(secret, kind)

    def note(self, sink: str, value: Any) -> None:
        self.put_out.append((sink, value))
        if len(self.put_out) > _MANY:
            self.look()

    def look(self) -> None:
        """Look through what was put out, once."""
        by_sink: dict[str, list[str]] = {}
        for sink, value in self.put_out:
            by_sink.setdefault(sink, []).extend(texts_of(value))
        self.put_out.clear()
        for sink, texts in by_sink.items():
            self.look_through(sink, "\n".join(texts), self.secrets)

    def look_through(self, sink: str, text: str, secrets: dict[str, str]) -> None:
        for secret, kind in [*secrets.items(), *self.lasting.items()]:
            if secret in text:
                at = text.index(secret)
                around = text[max(at - 60, 0) : at + len(secret) + 30].replace(secret, "<the secret>")
                self.leaks.add(f"{sink} holds {kind}: {around!r}")

    def finish(self, printed: str) -> set[str]:
        """The leaks of the test that ended; the next one starts with nothing."""
        self.look()
        self.look_through("the output", printed, self.secrets)
        leaks, self.leaks = self.leaks, set()
        self.secrets.clear()
        return leaks


scan = Scan()


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes | bytearray | memoryview):
        yield bytes(value).decode("utf-8", "replace")
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts_of(key)
            yield from texts_of(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from texts_of(each)
    elif hasattr(value, "obj"):  # psycopg's wrapper of JSON
        yield from texts_of(value.obj)


class _Lines(logging.Handler):
    """Notes log lines as our own formatter writes them."""

    def emit(self, record: logging.LogRecord) -> None:
        scan.note("a log line", self.format(record))


def _before(owner: Any, name: str, do: Callable[..., None]) -> None:
    """Let `do` see the arguments of every call of a method first."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        do(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _learn_secrets() -> None:
    from django.conf import settings
    from django.contrib.auth import base_user, hashers

    from portal import encryption
    from portal.models import users
    from portal.services import second_factor, tokens
    from tests.process_secrets import IDENTIFIERS
    from xmpp.services import passwords

    def learn_field(field: Any, value: Any) -> None:
        if isinstance(value, encryption.Sealed):
            return
        kind = f"{field.model.__name__}.{field.name}"
        for name, text in (value if isinstance(value, dict) else {"": value}).items():
            if name not in IDENTIFIERS:
                scan.learn(text, kind)

    _before(encryption.EncryptedJSONField, "get_prep_value", learn_field)
    _before(encryption.EncryptedTextField, "get_prep_value", learn_field)
    _before(second_factor, "_digest", lambda code: scan.learn(code, "a recovery code"))
    _before(tokens, "digest_of", lambda plain: scan.learn(plain, "a token"))
    # Also those that are refused, and so are stored nowhere.
    _before(passwords, "_checked", lambda _, typed, retyped: [scan.learn(text, "typed") for text in (typed, retyped)])
    for module in (hashers, base_user, users):
        _before(module, "make_password", lambda raw, *_, **__: scan.learn(raw, "a password"))
    for key in [*settings.ENCRYPTION_KEYS, settings.SECRET_KEY]:
        scan.lasting[key] = "a key of the installation"


def _watch_sinks() -> None:
    import redis
    from celery import Celery
    from django.core.handlers.base import BaseHandler
    from django.core.mail import EmailMessage
    from django.db.backends.sqlite3.base import SQLiteCursorWrapper

    def sql(_: Any, __: Any, params: Any = None, *___: Any, **____: Any) -> None:
        if params:
            scan.note("the database in plain", params)

    _before(psycopg.Cursor, "execute", sql)
    _before(psycopg.Connection, "execute", sql)
    _before(SQLiteCursorWrapper, "execute", sql)
    _before(Celery, "send_task", lambda _, name, *args, **kwargs: scan.note("a task", (name, args, kwargs)))
    _before(redis.Redis, "execute_command", lambda _, *args, **__: scan.note("Redis", args))
    _before(EmailMessage, "send", lambda mail, *_, **__: scan.note("a mail", (mail.subject, mail.body)))
    BaseHandler.get_response = _looked_through(BaseHandler.get_response)  # type: ignore[method-assign]


def _looked_through(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Django's `get_response`, its answers looked through for the secrets that there were before the request."""

    def wrapped(self: Any, request: Any) -> Any:
        before = {secret: kind for secret, kind in scan.secrets.items() if kind not in SHOWN}
        response = get_response(self, request)
        body = b"" if response.streaming else response.content
        headers = "\n".join(value for name, value in response.items() if name != "Set-Cookie")
        text = f"{headers}\n{body.decode('utf-8', 'replace')}"
        scan.look_through(f"the answer to {request.method} {request.path}", text, before)
        return response

    return wrapped


# --- Hooks of pytest -------------------------------------------------------------------------------------------------
@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """pytest-django has set Django up by now."""
    from portal.logs import LOGGING

    _learn_secrets()
    _watch_sinks()
    handler = _Lines()
    handler.setFormatter(_formatter(LOGGING["formatters"]["structured"]))
    logging.getLogger().addHandler(handler)


def _formatter(options: dict[str, Any]) -> logging.Formatter:
    made: logging.Formatter = options["()"](**{name: value for name, value in options.items() if name != "()"})
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if report.when == "teardown":
        leaks = scan.finish(f"{report.capstdout}\n{report.capstderr}")
        if leaks and report.outcome == "passed" and item.get_closest_marker("same_values") is None:
            report.outcome = "failed"
            report.longrepr = "A secret leaked:\n  " + "\n  ".join(sorted(leaks))
    return report
