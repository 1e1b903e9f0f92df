"""The index by which texts are taken fairly, instead of the one by time alone. Older processes find theirs more slowly
until they are restarted."""

from django.db import migrations, models

from portal.indexes import AddIndexBesideWrites


class Migration(migrations.Migration):
    # The index is built beside the writers, which a transaction would not allow.
    atomic = False

    dependencies = [("cpaas", "0018_fair_dispatch")]

    operations = [
        AddIndexBesideWrites(
            model_name="conversation",
            index=models.Index(
                fields=["outbox_platform", "outbox_at"],
                condition=models.Q(outbox_at__isnull=False),
                name="conversation_outbox_platform",
            ),
        ),
        migrations.RemoveIndex(model_name="conversation", name="conversation_outbox"),
    ]
