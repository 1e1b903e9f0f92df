"""The Celery application. Workers run threads (carrier calls wait, they do not compute) and hold no truth: a task is a
hint to look at rows, so lost, doubled and late tasks are harmless (architecture 3.3).

    celery -A portal.celery worker                       tasks
    celery -A portal.celery worker -c 1 --residents      residents and the scheduler, no tasks
"""

from __future__ import annotations

import os
import warnings
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
# Django's whole check would load every page into the worker; ours run in RefuseMisconfiguration.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

import structlog
from celery import Celery, signals
from celery.contrib.django.task import DjangoTask
from celery.exceptions import SecurityWarning
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES

from portal import atomicfs, clock, collector, request_context
from portal.residents.bootstep import RESIDENTS_OPTION, RefuseMisconfiguration, ResidentsStep

TASK_QUEUE = "portal"
# How long anybody waits for a broker that does not answer.
BROKER_TIMEOUT_S = 2
AMQP = {"amqp", "amqps", "pyamqp"}
# Published by whoever sends a task, so that its log lines and audit rows carry the request they come from.
REQUEST_ID_HEADER = "portal_request_id"

if settings.DEBUG:
    # That root runs a development stack is no news.
    warnings.filterwarnings("ignore", category=SecurityWarning, module="celery.platforms")

TRANSPORT_ALIASES["atomicfs"] = "portal.atomicfs:Transport"


def broker_options(url: str) -> dict[str, Any]:
    """Transport options for the broker at `url`."""
    scheme = urlsplit(url).scheme
    if scheme == "atomicfs":
        return atomicfs.transport_options(settings.VAR_DIR / "broker")
    if scheme.startswith(("redis", "sentinel")):
        return {
            "socket_connect_timeout": BROKER_TIMEOUT_S,
            "socket_timeout": 2.5 * BROKER_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": 10,
        }
    if scheme in AMQP:
        # The scheduler counts a job as run once it is sent, so the broker must have confirmed it. One that is out of
        # memory or disk confirms nothing: without time-outs every sender would hang.
        return {"confirm_publish": True, "read_timeout": BROKER_TIMEOUT_S, "write_timeout": BROKER_TIMEOUT_S}
    return {}


class RequestTask(DjangoTask[..., Any]):
    """A task that runs in the context of the request that asked for it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request_id = getattr(self.request, REQUEST_ID_HEADER, None) or self.request.id or ""
        context = request_context.RequestContext(request_id=request_id, client="worker")
        with (
            request_context.entered(context),
            structlog.contextvars.bound_contextvars(request_id=request_id, task=self.name),
        ):
            return super().__call__(*args, **kwargs)


def broker_url() -> str:
    """The broker of the settings; tests on the embedded default keep their tasks out of the portal's folder."""
    url: str = settings.CELERY_BROKER_URL
    if not url.startswith("atomicfs:"):
        return url
    return "memory://" if settings.TESTING else "atomicfs://localhost"


class PortalCelery(Celery):
    """Keeps the schedule by the database's clock: a scheduler with a wrong one starts nothing early, and leaves nothing
    to its successor that lies in the future."""

    def now(self) -> datetime:
        return clock.now()


app = PortalCelery("portal", task_cls=RequestTask)
app.conf.update(
    broker_url=broker_url(),
    broker_transport_options=broker_options(broker_url()),
    broker_connection_timeout=BROKER_TIMEOUT_S,
    # RabbitMQ only: so that a worker sees within a minute that its broker's machine is gone.
    broker_heartbeat=30,
    broker_connection_retry_on_startup=True,
    # With retries exhausted the worker would exit and take its residents along; they go on by their sweep.
    broker_connection_max_retries=None,
    task_default_queue=TASK_QUEUE,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_acks_late=True,
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1},
    task_always_eager=False,
    timezone="UTC",
    enable_utc=True,
    worker_pool="threads",
    worker_concurrency=4,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # RabbitMQ only: after a lost connection each task's thread would ask the broker for one more, and read the answer
    # from the connection that the main thread reads. The two tear its frames, and wait for the rest for ever.
    worker_enable_prefetch_count_reduction=False,
)
app.autodiscover_tasks()
app.user_options["worker"].add(RESIDENTS_OPTION)
app.steps["worker"].add(RefuseMisconfiguration)
app.steps["worker"].add(ResidentsStep)


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Having a receiver keeps Celery from replacing the logging of the settings."""


@signals.worker_ready.connect
def spare_what_stays(**_: Any) -> None:
    """The dispatcher sends nothing while the collector goes through all of Django."""
    collector.spare_what_stays()


@signals.before_task_publish.connect
def send_request_id(headers: dict[str, Any] | None = None, **_: Any) -> None:
    request_id = request_context.current().request_id
    if headers is not None and request_id:
        headers[REQUEST_ID_HEADER] = request_id
