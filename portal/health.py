"""What machines ask: is the process up, can it work, how is it doing. Put `urlpatterns` into the project's URLs."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from hmac import compare_digest
from urllib.parse import urlsplit

import redis
from amqp.exceptions import AMQPError
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_safe
from kombu import Connection
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from portal.middleware import client_address
from portal.models import OutgoingMail, Service
from portal.services.residents import is_alive

TIMEOUT_S = 2
# Parts of /metrics that apps add in `ready()`: each a callable -> (name, help, value), read at every scrape.
gauges: list[Callable[[], tuple[str, str, float]]] = []


class NotReadyError(Exception):
    """What keeps the process from working, in a few words without addresses or secrets."""


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, broker and migrations are fine; 503 naming the first state of each that is not."""
    parts = {"database": _outcome(check_database), "broker": _outcome(check_broker)}
    fine = parts["database"] == "ok"
    parts["migrations"] = _outcome(check_migrations) if fine else "not checked"
    ready = all(outcome == "ok" for outcome in parts.values())
    return JsonResponse({"status": "ok" if ready else "failed", **parts}, status=200 if ready else 503)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text: what this process counted, then what the database knows. Names of tenants are in neither, but
    how much they do is; so it is for the machine itself, and for who has the token (PORTAL_METRICS_TOKEN)."""
    if not _may_read_metrics(request):
        return HttpResponse("Only for this machine, or with the token.\n", status=403, content_type="text/plain")
    text = generate_latest(REGISTRY)
    try:
        text += generate_latest(_of_database())
    except DatabaseError:
        text += b"# the database does not answer\n"
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def _may_read_metrics(request: HttpRequest) -> bool:
    if ipaddress.ip_address(client_address(request)).is_loopback:
        return True
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return bool(settings.METRICS_TOKEN) and compare_digest(given.encode(), settings.METRICS_TOKEN.encode())


def _outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except NotReadyError as error:
        return str(error)
    return "ok"


def check_database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        raise NotReadyError(f"does not answer ({type(error).__name__})") from error


def check_broker() -> None:
    """The broker lets us in. A folder is there when this process started."""
    url = urlsplit(settings.CELERY_BROKER_URL)
    try:
        if url.scheme.startswith("redis"):
            _redis_ping(settings.CELERY_BROKER_URL)
        elif url.scheme != "atomicfs":
            _amqp_login(settings.CELERY_BROKER_URL)
    except (redis.RedisError, AMQPError, OSError) as error:
        raise NotReadyError(f"does not answer ({type(error).__name__})") from error


def _redis_ping(url: str) -> None:
    client = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
    try:
        client.ping()
    finally:
        client.close()


def _amqp_login(url: str) -> None:
    """Once, without the retries of `Connection.connect`."""
    transport = Connection(url, connect_timeout=TIMEOUT_S).transport
    transport.close_connection(transport.establish_connection())


def check_migrations() -> None:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise NotReadyError(f"not known ({type(error).__name__})") from error
    if missing:
        raise NotReadyError(f"{len(missing)} to apply")


def silent_residents() -> list[Service]:
    """The services of the whole installation that should run and are not heard of."""
    rows = Service.objects.filter(system_provider=None, desired="running").order_by("name")
    return [row for row in rows if not is_alive(row)]


class _DatabaseCollector:
    """Residents and queues as the database knows them, the same in every process.

    What each tenant has of its own is counted together: whoever reads this path learns of no tenant.
    """

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("portal_resident_up", "1 when running everywhere and heard of lately.", labels=["name"])
        total = CounterMetricFamily(
            "portal_resident_events", "Counters of residents over all workers.", labels=["name", "counter"]
        )
        alive: dict[str, bool] = {}
        counters: Counter[tuple[str, str]] = Counter()
        for row in Service.objects.all():
            alive[row.name] = alive.get(row.name, True) and is_alive(row)
            counters.update({(row.name, counter): value for counter, value in row.counters.items()})
        for name, is_up in alive.items():
            up.add_metric([name], float(is_up))
        for labels, count in counters.items():
            total.add_metric(labels, count)
        yield up
        yield total
        queued = OutgoingMail.objects.filter(state="queued").count()
        yield GaugeMetricFamily("portal_mails_queued", "Mails waiting to go out.", value=queued)
        for gauge in gauges:
            name, help_text, value = gauge()
            yield GaugeMetricFamily(name, help_text, value=value)


def _of_database() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_DatabaseCollector())
    return registry


urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
