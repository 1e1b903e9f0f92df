"""Counters of messaging for /metrics."""

from __future__ import annotations

from prometheus_client import Counter

WEBHOOKS = Counter("portal_webhooks_total", "Webhook calls by carrier and outcome.", ["carrier", "outcome"])
