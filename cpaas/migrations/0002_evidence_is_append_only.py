"""The database itself refuses to change or delete opt-in evidence (R3, R18)."""

from django.db import migrations

POSTGRESQL = """
    CREATE FUNCTION cpaas_evidence_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'opt-in evidence is never changed or deleted'; END $$;
    CREATE TRIGGER cpaas_evidence_is_append_only BEFORE UPDATE OR DELETE ON cpaas_optinevidence
    FOR EACH ROW EXECUTE FUNCTION cpaas_evidence_is_append_only();
"""
POSTGRESQL_UNDO = """
    DROP TRIGGER cpaas_evidence_is_append_only ON cpaas_optinevidence;
    DROP FUNCTION cpaas_evidence_is_append_only();
"""
# SQLite has no TRUNCATE, so a refused DELETE would also stop `manage.py flush`.
SQLITE = """
    CREATE TRIGGER cpaas_evidence_is_append_only BEFORE UPDATE ON cpaas_optinevidence
    BEGIN SELECT RAISE(ABORT, 'opt-in evidence is never changed'); END;
"""


def forward(apps, schema_editor):
    schema_editor.execute(POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE)


def backward(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    schema_editor.execute(POSTGRESQL_UNDO if postgresql else "DROP TRIGGER cpaas_evidence_is_append_only")


class Migration(migrations.Migration):
    dependencies = [("cpaas", "0001_initial")]

    operations = [migrations.RunPython(forward, backward)]
