"""Texts that came to media streams before there were queues: their conversations wait now."""

from django.db import migrations

WAIT = """
    INSERT INTO cpaas_queueentry (id, created_at, media_stream_id, conversation_id, state, waiting_since)
    SELECT c.id, c.last_received_at, n.media_stream_id, c.id, 'waiting', c.last_received_at
    FROM cpaas_conversation c JOIN cpaas_cpaasnumber n ON n.id = c.number_id
    WHERE n.media_stream_id IS NOT NULL AND n.status <> 'removing'
      AND c.user_id IS NULL AND c.new_count > 0 AND c.last_received_at IS NOT NULL
    ON CONFLICT (conversation_id) DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("cpaas", "0019_outbox_by_platform")]
    operations = [migrations.RunSQL(WAIT, migrations.RunSQL.noop)]
