"""What lists are filtered by and searched for has an index at each level (rule 7)."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Right

from portal.indexes import AddIndexBesideWrites, Folded


class Migration(migrations.Migration):
    # Indexes are built beside the writers, which a transaction would not allow.
    atomic = False

    dependencies = [
        ('cpaas', '0004_traffic'),
        ('portal', '0003_lists_by_filter'),
    ]

    operations = [
        migrations.RenameIndex(
            model_name='cpaasnumber',
            new_name='number_last_four_sp',
            old_name='number_sp_last_four',
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(fields=['platform', 'id'], name='number_platform_id'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(Right('number', 4), models.F('id'), name='number_last_four_all'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('reseller'), Right('number', 4), models.F('id'), name='number_last_four_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('status'), models.F('id'), name='number_status_all'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('system_provider'), models.F('status'), models.F('id'), name='number_status_sp'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('reseller'), models.F('status'), models.F('id'), name='number_status_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('opt_in_state'), models.F('id'), name='number_opt_in_all'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('system_provider'), models.F('opt_in_state'), models.F('id'), name='number_opt_in_sp'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('reseller'), models.F('opt_in_state'), models.F('id'), name='number_opt_in_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='mediastream',
            index=models.Index(models.F('media_type'), models.F('id'), name='stream_type_all'),
        ),
        AddIndexBesideWrites(
            model_name='mediastream',
            index=models.Index(models.F('system_provider'), models.F('media_type'), models.F('id'), name='stream_type_sp'),
        ),
        AddIndexBesideWrites(
            model_name='mediastream',
            index=models.Index(models.F('reseller'), models.F('media_type'), models.F('id'), name='stream_type_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='mediastream',
            index=models.Index(Folded('name'), models.F('id'), name='stream_name_all'),
        ),
        AddIndexBesideWrites(
            model_name='mediastream',
            index=models.Index(models.F('system_provider'), Folded('name'), models.F('id'), name='stream_name_sp'),
        ),
        AddIndexBesideWrites(
            model_name='mediastream',
            index=models.Index(models.F('reseller'), Folded('name'), models.F('id'), name='stream_name_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='optinevidence',
            index=models.Index(models.F('answer'), models.F('id'), name='evidence_answer_all'),
        ),
        AddIndexBesideWrites(
            model_name='optinevidence',
            index=models.Index(models.F('system_provider_id'), models.F('answer'), models.F('id'), name='evidence_answer_sp'),
        ),
        AddIndexBesideWrites(
            model_name='optinevidence',
            index=models.Index(models.F('reseller_id'), models.F('answer'), models.F('id'), name='evidence_answer_reseller'),
        ),
        migrations.AlterField(
            model_name='cpaasnumber',
            name='platform',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='numbers', to='cpaas.cpaasplatform'),
        ),
        AddIndexBesideWrites(
            model_name='message',
            index=models.Index(condition=models.Q(('direction', 'out'), ('status__in', ['failed', 'undelivered'])), fields=['created_at', 'number'], name='message_not_delivered'),
        ),
    ]
