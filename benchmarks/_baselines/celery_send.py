"""Baseline: one Celery task per text, `requests` and a status UPDATE, in a pool of 64 threads."""

from __future__ import annotations

import os
import threading

import psycopg
import requests
from celery import Celery

app = Celery("bench", broker=os.environ["REDIS_URL"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4)
_local = threading.local()


@app.task(name="bench.send")
def send(row_id: int) -> None:
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
        _local.connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    body = {"from": "12019920760", "to": [f"1703608{row_id:04d}"], "text": "Hello"}
    headers = {"Authorization": f"Bearer {os.environ['BENCH_KEY']}"}
    sid = _local.session.post(os.environ["BENCH_URL"], json=body, headers=headers, timeout=30).json()["result"]
    _local.connection.execute(
        "UPDATE bench_text SET status = 'sent', sid = %s WHERE id = %s", (sid["referenceId"], row_id)
    )
