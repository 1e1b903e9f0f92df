"""Redis or RabbitMQ between those who ask for a task and a real worker: cut off, silent, and back again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from celery import Celery
from django.conf import settings
from django.test import Client

from portal import background
from portal.celery import broker_options
from portal.models import OutgoingMail
from portal.tests.residents import database_url_of_test
from tests.faults.stage import CELERY
from tests.faults.tcp_gate import Gate
from tests.sandbox_process import ROOT, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker, pytest.mark.fault]
SEND_MAILS = "portal.tasks.send_mails"


@pytest.fixture
def gate() -> Iterator[Gate]:
    broker = urlsplit(settings.CELERY_BROKER_URL)
    assert broker.hostname
    assert broker.port
    with Gate((broker.hostname, broker.port)) as opened:
        yield opened


@pytest.fixture
def broker_url(gate: Gate, broker_place: int) -> str:
    """The tests' broker behind the gate, in a place of this test process."""
    parts = urlsplit(settings.CELERY_BROKER_URL)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit((parts.scheme, f"{login}127.0.0.1:{gate.port}", f"/{broker_place + 1}", "", ""))


@pytest.fixture
def sender(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`run_soon` of this process goes through the gate, with the options of the portal."""
    # Celery would take the broker of the environment.
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    app = Celery("sender", broker=broker_url, set_as_current=False)
    app.conf.update(
        broker_transport_options=broker_options(broker_url), broker_connection_timeout=2, task_default_queue="portal"
    )
    monkeypatch.setattr(background, "current_app", app)
    yield
    app.close()


@pytest.fixture
def worker(broker_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A task worker, and no scheduler beside it: what it does it was told to."""
    environment = os.environ | {
        "CELERY_BROKER_URL": broker_url,
        "DATABASE_URL": database_url_of_test(),
        "DEBUG": "1",
        "EMAIL_URL": "smtp://127.0.0.1:9",
        "PORTAL_VAR_DIR": str(tmp_path),
    }
    started = subprocess.Popen([sys.executable, *CELERY, "-c", "4", "-n", "tasks@%h"], cwd=ROOT, env=environment)
    yield started
    started.terminate()
    assert started.wait(60) == 0


def ask(monkeypatch: pytest.MonkeyPatch) -> bool:
    """One task; False when the broker did not take it."""
    monkeypatch.setattr(background, "_silent_until", 0.0)
    background.run_soon(SEND_MAILS)
    return background._silent_until == 0.0


def is_worked_off(mail: OutgoingMail) -> bool:
    """The mail server is away, so that the worker's try shows in the row."""
    mail.refresh_from_db()
    return mail.tries > 0


def new_mail() -> OutgoingMail:
    return OutgoingMail.objects.create(to="a@example.com", subject="s", text="t")


def test_a_worker_that_lost_its_broker_takes_tasks_again(sender, worker, gate: Gate, monkeypatch) -> None:
    before = new_mail()
    assert ask(monkeypatch)
    wait_for(lambda: is_worked_off(before), what="the first task")
    gate.cut()
    assert not ask(monkeypatch)
    gate.open()
    after = new_mail()
    wait_for(lambda: ask(monkeypatch), what="the sender")
    wait_for(lambda: is_worked_off(after), what="the task after the loss")


def test_nobody_hangs_on_a_broker_that_takes_nothing(sender, gate: Gate, monkeypatch) -> None:
    """RabbitMQ out of memory or disk, or a machine without power: connections stand, and no answer comes."""
    assert ask(monkeypatch)
    gate.hold()
    assert not ask(monkeypatch)
    assert not ask(monkeypatch)
    gate.release()
    wait_for(lambda: ask(monkeypatch), what="the sender")


def test_a_broker_that_does_not_let_us_in_is_not_ready(client: Client, broker_url: str, settings) -> None:
    settings.CELERY_BROKER_URL = broker_url
    assert client.get("/readyz").json()["broker"] == "ok"
    settings.CELERY_BROKER_URL = broker_url.replace("127.0.0.1", "nobody:wrong@127.0.0.1").replace("guest:guest@", "")
    assert client.get("/readyz").json()["broker"].startswith("does not answer")
