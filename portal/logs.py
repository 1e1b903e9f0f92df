"""Structured logs: one JSON object a line in production, readable lines in DEBUG, and no secret in either."""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from typing import Any

import structlog

from portal.request_context import current

SECRET_NAMES = re.compile(
    r"authorization|api[_-]?key|secret|password|token|cookie|private[_-]?key|verification|credential", re.IGNORECASE
)
# The path secret of a webhook URL (contracts section 3) must not reach a log line either.
WEBHOOK_PATH = re.compile(r"(/webhooks/[^/\s]+/[^/\s]+/)[^/\s]+")


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank values whose name says that they are secret, and path secrets in any text."""
    for name, value in event.items():
        if name != "event" and SECRET_NAMES.search(name):
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = WEBHOOK_PATH.sub(r"\1[redacted]", value)
    return event


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
    },
}


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
