"""The message log has an index at each level (rule 7)."""

from django.db import migrations, models
from django.db.models.functions import Right

from portal.indexes import AddIndexBesideWrites


class Migration(migrations.Migration):
    # Indexes are built beside the writers, which a transaction would not allow.
    atomic = False

    dependencies = [('cpaas', '0014_message_log')]

    operations = [
        AddIndexBesideWrites(
            model_name='conversation',
            index=models.Index(Right('remote', 4), models.F('last_message_at'), name='conversation_last_four'),
        ),
        AddIndexBesideWrites(
            model_name='message',
            index=models.Index(fields=['system_provider_id', 'status', 'id'], name='message_log_sp'),
        ),
        AddIndexBesideWrites(
            model_name='message',
            index=models.Index(fields=['reseller_id', 'status', 'id'], name='message_log_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='message',
            index=models.Index(fields=['group_id', 'status', 'id'], name='message_log_group'),
        ),
        AddIndexBesideWrites(
            model_name='message',
            index=models.Index(fields=['number', 'status', 'id'], name='message_log_number'),
        ),
        AddIndexBesideWrites(
            model_name='message',
            index=models.Index(condition=models.Q(('system_provider_id', None)), fields=['id'], name='message_unplaced'),
        ),
        AddIndexBesideWrites(
            model_name='webhookevent',
            index=models.Index(condition=models.Q(('state__in', ('unassigned', 'unreadable', 'replayed'))), fields=['id'], name='webhook_dead'),
        ),
        AddIndexBesideWrites(
            model_name='webhookevent',
            index=models.Index(condition=models.Q(('state__in', ('unassigned', 'unreadable', 'replayed'))), fields=['platform', 'id'], name='webhook_dead_platform'),
        ),
        migrations.RemoveIndex(
            model_name='message',
            name='message_number_id',
        ),
    ]
