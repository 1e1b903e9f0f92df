"""Baseline: Flask that stores a JSON body with one INSERT through a psycopg pool, and checks nothing."""

from __future__ import annotations

import os

from flask import Flask, request
from psycopg_pool import ConnectionPool

app = Flask(__name__)
pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=8, max_size=8, open=True)


@app.post("/<path:_path>")
def take(_path: str) -> tuple[dict[str, str], int]:
    body = request.get_json()
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO bench_message (sid, sender, recipient, text) VALUES (%s, %s, %s, %s)",
            (body["referenceId"], body["from"], body["to"][0], body["text"]),
        )
    return {"status": "success"}, 200
