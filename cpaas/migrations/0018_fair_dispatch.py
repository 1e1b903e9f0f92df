"""What waits says which platform it goes through, and a platform may be paused (facts 4.7)."""

import uuid

from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def name_platforms(apps, schema_editor):
    """Of what waits now; what an older process puts up meanwhile has a turn of its own (fairness.py)."""
    Conversation = apps.get_model("cpaas", "Conversation")
    CpaasNumber = apps.get_model("cpaas", "CpaasNumber")
    number = CpaasNumber.objects.filter(pk=OuterRef("number_id"))
    waiting = Conversation.objects.filter(outbox_at__isnull=False)
    waiting.update(outbox_platform=Subquery(number.values("platform_id")[:1]))


class Migration(migrations.Migration):
    dependencies = [("cpaas", "0017_spending_limits")]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="outbox_platform",
            field=models.UUIDField(db_default=uuid.UUID(int=0), default=uuid.UUID(int=0)),
        ),
        migrations.AddField(
            model_name="cpaasplatform",
            name="paused_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunPython(name_platforms, migrations.RunPython.noop),
    ]
