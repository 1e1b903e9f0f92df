"""Real worker processes: refused pools, a broker that is away, take-over after kill -9, the request id in a task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from celery import Celery
from celery.contrib.testing.worker import start_worker

from portal import request_context
from portal.celery import RequestTask
from portal.models import Lease, Service
from portal.tests.residents import database_url_of_test, eventually

ROOT = Path(__file__).resolve().parent.parent.parent
WORKER = ["-m", "celery", "-q", "-A", "portal.celery", "worker", "-l", "WARNING", "-n", "test@%h"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A development environment of its own, with the broker in a folder."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "CELERY_BROKER_URL"}}
    return inherited | {"DEBUG": "1", "PORTAL_VAR_DIR": str(tmp_path), "PORTAL_LEASE_TTL_S": "2"}


@contextmanager
def process(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, *arguments], env=environment, cwd=ROOT)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def test_a_prefork_worker_does_not_start(environment: dict[str, str]) -> None:
    command = [sys.executable, *WORKER, "-P", "processes", "-c", "1"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "portal.E001" in done.stderr


def test_a_misconfigured_worker_does_not_start(environment: dict[str, str]) -> None:
    environment |= {"DEBUG": "0", "SECRET_KEY": "", "PORTAL_SINGLE_HOST": "0"}
    command = [sys.executable, *WORKER]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "portal.E002" in done.stderr
    assert "portal.E003" in done.stderr


@pytest.mark.fault
@pytest.mark.core
@pytest.mark.django_db(transaction=True)
def test_with_the_broker_away_the_residents_of_a_worker_run_and_end_in_order(environment: dict[str, str]) -> None:
    environment |= {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": database_url_of_test()}
    environment |= {"PORTAL_LEASE_TTL_S": "60"}  # whoever loses it says nothing at the end
    with process(environment, *WORKER, "-P", "threads", "-c", "1", "--residents") as worker:
        eventually(lambda: Service.objects.filter(name="scheduler", actual="running").exists())
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    row = Service.objects.get(name="scheduler")
    assert (row.actual, row.detail) == ("stopped", "The worker was shut down.")
    assert Lease.objects.get(name="scheduler").holder == ""


@pytest.mark.fault
@pytest.mark.core
@pytest.mark.django_db(transaction=True)
def test_after_kill_9_of_the_holder_another_process_takes_over_in_a_higher_epoch(environment: dict[str, str]) -> None:
    environment |= {"DATABASE_URL": database_url_of_test()}
    command = ["manage.py", "residents", "--only", "scheduler"]
    with process(environment, *command) as first:
        old = eventually(lambda: Lease.objects.filter(name="scheduler").exclude(holder="").first())
        with process(environment, *command) as second:
            eventually(lambda: f":{first.pid}:" in old.holder)
            first.send_signal(signal.SIGKILL)
            new = eventually(lambda: Lease.objects.filter(name="scheduler", epoch__gt=old.epoch).first())
            assert f":{second.pid}:" in new.holder
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 0


def test_the_request_id_reaches_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    # Celery would take the broker of the environment.
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    app = Celery("test", broker="memory://", task_cls=RequestTask, set_as_current=False)
    app.conf.update(worker_hijack_root_logger=False, task_default_queue="request-id")
    seen: list[tuple[str, object]] = []

    @app.task(name="look")
    def look() -> None:
        seen.append((request_context.current().request_id, structlog.contextvars.get_contextvars()["request_id"]))

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=60):
        with request_context.entered(request_context.RequestContext(request_id="r-42")):
            look.delay()
        eventually(lambda: seen)
    assert seen == [("r-42", "r-42")]
    assert request_context.current().request_id == ""
