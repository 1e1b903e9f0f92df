"""/healthz, /readyz, /metrics (contracts section 1)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from portal.models import OutgoingMail, Service
from portal.tests.factories import SystemProviderFactory

pytestmark = pytest.mark.core


def test_healthz_answers_without_the_database(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_is_200_when_database_broker_and_migrations_are_fine(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "broker": "ok", "migrations": "ok"}


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"])
def test_readyz_names_a_broker_that_is_away(client: Client, settings, url: str) -> None:
    settings.CELERY_BROKER_URL = url
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["broker"].startswith("does not answer")
    assert answer.json()["database"] == "ok"
    assert "127.0.0.1" not in answer.content.decode()


@pytest.mark.django_db
def test_readyz_names_missing_migrations(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'cpaas'")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["migrations"].endswith("to apply")


@pytest.mark.django_db
def test_metrics_show_residents_and_queues(client: Client) -> None:
    Service.objects.create(name="alive", actual="running", seen_at=timezone.now(), counters={"sent": 7})
    Service.objects.create(name="silent", actual="running", seen_at=timezone.now() - timedelta(minutes=5))
    OutgoingMail.objects.create(to="a@example.com", subject="s", text="t")
    text = client.get("/metrics").content.decode()
    assert 'portal_resident_up{name="alive"} 1.0' in text
    assert 'portal_resident_up{name="silent"} 0.0' in text
    assert 'portal_resident_events_total{counter="sent",name="alive"} 7.0' in text
    assert "portal_mails_queued 1.0" in text


@pytest.mark.django_db
def test_metrics_name_no_tenant(client: Client) -> None:
    """What tenants have of their own is counted together; one that is down shows (S4.41)."""
    providers = SystemProviderFactory.create_batch(2)
    for provider, actual in zip(providers, ("running", "failed"), strict=True):
        Service.objects.create(
            name="merge", system_provider=provider, actual=actual, seen_at=timezone.now(), counters={"merged": 2}
        )
    text = client.get("/metrics").content.decode()
    assert 'portal_resident_up{name="merge"} 0.0' in text
    assert 'portal_resident_events_total{counter="merged",name="merge"} 4.0' in text
    assert not any(str(provider.pk) in text for provider in providers)
