"""Texts are found by what they hold (R40): PostgreSQL's trigrams, of texts that change their state no more, or once.

Each change of a row would write all its trigrams anew, so texts on their way are not in it. SQLite has no such index,
and a PostgreSQL whose administrator does not allow the extension goes without: a search then reads its span of time.
"""

from django.db import migrations
from django.db.utils import DatabaseError

_NAME = "message_text"
_CREATE = """
    CREATE INDEX CONCURRENTLY message_text ON cpaas_message USING gin (text gin_trgm_ops)
    WHERE status IN ('sent', 'undelivered', 'failed', 'delivered', 'received', 'held', 'blocked')
"""


def forward(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    # What an interrupted build left behind is dropped first.
    schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_NAME}")
    try:
        schema_editor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except DatabaseError:
        return
    schema_editor.execute(_CREATE)


def backward(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_NAME}")


class Migration(migrations.Migration):
    # Built beside the writers, which a transaction would not allow.
    atomic = False

    dependencies = [("cpaas", "0021_number_imports")]

    operations = [migrations.RunPython(forward, backward)]
