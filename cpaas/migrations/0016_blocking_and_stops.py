"""Blocked parties, STOP and its evidence, which the database itself refuses to change or delete (R19, R20)."""

import django.db.models.deletion
import django.utils.timezone
import portal.ids
from django.db import migrations, models


POSTGRESQL = """
    CREATE FUNCTION cpaas_stop_evidence_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'stop evidence is never changed or deleted'; END $$;
    CREATE TRIGGER cpaas_stop_evidence_is_append_only BEFORE UPDATE OR DELETE ON cpaas_stopevidence
    FOR EACH ROW EXECUTE FUNCTION cpaas_stop_evidence_is_append_only();
"""
POSTGRESQL_UNDO = """
    DROP TRIGGER cpaas_stop_evidence_is_append_only ON cpaas_stopevidence;
    DROP FUNCTION cpaas_stop_evidence_is_append_only();
"""
# SQLite has no TRUNCATE, so a refused DELETE would also stop `manage.py flush`.
SQLITE = """
    CREATE TRIGGER cpaas_stop_evidence_is_append_only BEFORE UPDATE ON cpaas_stopevidence
    BEGIN SELECT RAISE(ABORT, 'stop evidence is never changed'); END;
"""


def forward(apps, schema_editor):
    schema_editor.execute(POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE)


def backward(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    schema_editor.execute(POSTGRESQL_UNDO if postgresql else "DROP TRIGGER cpaas_stop_evidence_is_append_only")


class Migration(migrations.Migration):

    dependencies = [
        ('cpaas', '0015_message_log_lists'),
        ('portal', '0004_login_is_no_key'),
    ]

    operations = [
        migrations.AddField(
            model_name='parkedreceipt',
            name='opted_out',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name='Stop',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('tn', models.CharField(max_length=20)),
                ('remote', models.CharField(max_length=32)),
                ('stopped', models.BooleanField()),
                ('keyword', models.CharField(blank=True, default='', max_length=20)),
                ('carrier_code', models.CharField(blank=True, default='', max_length=60)),
                ('message_id', models.UUIDField(null=True)),
                ('system_provider_id', models.UUIDField()),
                ('reseller_id', models.UUIDField()),
                ('group_id', models.UUIDField()),
                ('at', models.DateTimeField()),
                ('reply_id', models.UUIDField(null=True)),
            ],
            options={
                'verbose_name': 'stop',
                'indexes': [models.Index(fields=['tn', 'id'], name='stop_tn_id'), models.Index(fields=['remote', 'id'], name='stop_remote_id'), models.Index(fields=['system_provider_id', 'id'], name='stop_sp_id'), models.Index(fields=['reseller_id', 'id'], name='stop_reseller_id'), models.Index(fields=['group_id', 'id'], name='stop_group_id')],
                'constraints': [models.UniqueConstraint(fields=('system_provider_id', 'tn', 'remote'), name='stop_pair')],
            },
        ),
        migrations.CreateModel(
            name='StopEvidence',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('tn', models.CharField(max_length=20)),
                ('remote', models.CharField(max_length=32)),
                ('stopped', models.BooleanField()),
                ('keyword', models.CharField(blank=True, default='', max_length=20)),
                ('carrier_code', models.CharField(blank=True, default='', max_length=60)),
                ('message_id', models.UUIDField(null=True)),
                ('system_provider_id', models.UUIDField()),
                ('reseller_id', models.UUIDField()),
                ('group_id', models.UUIDField()),
                ('number_id', models.UUIDField()),
            ],
            options={
                'verbose_name': 'stop evidence',
                'verbose_name_plural': 'stop evidence',
                'indexes': [models.Index(fields=['system_provider_id', 'tn', 'remote', 'id'], name='stop_evidence_pair')],
            },
        ),
        migrations.CreateModel(
            name='BlockedParty',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('remote', models.CharField(max_length=32)),
                ('number', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='blocked_parties', to='cpaas.cpaasnumber')),
                ('user', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='portal.enduser')),
            ],
            options={
                'verbose_name': 'blocked party',
                'verbose_name_plural': 'blocked parties',
                'indexes': [models.Index(fields=['user', 'id'], name='blocked_user_id'), models.Index(fields=['number', 'id'], name='blocked_number_id')],
                'constraints': [models.UniqueConstraint(fields=('number', 'remote'), name='blocked_number_remote')],
            },
        ),
        migrations.RunPython(forward, backward),
    ]
