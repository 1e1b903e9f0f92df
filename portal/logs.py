"""Structured logs: one JSON object a line in production, readable lines in DEBUG, and no secret in either."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from portal.request_context import current

SECRET_NAMES = re.compile(
    r"authorization|api[_-]?key|secret|password|token|cookie|private[_-]?key|verification|credential", re.IGNORECASE
)
# What is secret by its form, in any text: the path secret of a webhook URL (contracts section 3), the address of a
# file, a token of ours, the password in the URL of a server.
WEBHOOK_PATH = re.compile(r"(/webhooks/[^/\s]+/[^/\s]+/)[^/\s'\"<]+")
FILE_PATH = re.compile(r"(/files/)[A-Za-z0-9_-]{22}")
TOKEN = re.compile(r"\b(pp[sd]_)[A-Za-z0-9_-]{20,}")
URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)")


def without_secrets(text: str) -> str:
    """`text` with what is secret by its form blanked."""
    for secret in (WEBHOOK_PATH, FILE_PATH, TOKEN, URL_PASSWORD):
        text = secret.sub(r"\1[redacted]", text)
    return text


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank values whose name says that they are secret, however deep, and what is secret by its form."""
    for name, value in event.items():
        # Those with an underscore are structlog's own, which are not written.
        if not name.startswith("_"):
            event[name] = without_secrets(str(value)) if name == "event" else _redacted(name, value)
    return event


def _redacted(name: str, value: Any) -> Any:
    if SECRET_NAMES.search(name):
        return "[redacted]"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _redacted(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", each) for each in value]
    # The renderers would write other objects by their `repr` as well.
    return without_secrets(value if isinstance(value, str) else repr(value))


def add_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The id the answer carries as `X-Request-ID`, also where django-structlog does not see the request."""
    request_id = current().request_id
    if request_id:
        event.setdefault("request_id", request_id)
    return event


_shared: list[Any] = [
    structlog.contextvars.merge_contextvars,
    add_request_id,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.format_exc_info,
    redact,
]

structlog.configure(
    processors=[structlog.stdlib.filter_by_level, *_shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)

_renderer = (
    structlog.dev.ConsoleRenderer(colors=False)
    if os.environ.get("DEBUG", "").lower() in {"1", "true", "on", "yes"}
    else structlog.processors.JSONRenderer()
)

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer],
            "foreign_pre_chain": _shared,
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {
        # Named so that Django's own handler goes: in DEBUG it wrote each line once more, unredacted.
        "django": {"level": "INFO"},
        "django.server": {"level": "WARNING"},
        "django_structlog": {"level": "WARNING"},
        "celery": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
        # It logs stanzas, broken ones as errors, and so what people wrote; what matters is logged by xmpp itself.
        "slixmpp": {"level": "CRITICAL"},
    },
}


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
