"""Bulk imports: jobs, and the lines of their files."""

import django.db.models.deletion
import django.utils.timezone
import portal.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cpaas', '0020_waiting_conversations'),
    ]

    operations = [
        migrations.CreateModel(
            name='NumberImport',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('account_id', models.UUIDField()),
                ('account_name', models.CharField(max_length=160, verbose_name='asked for by')),
                ('file_name', models.CharField(blank=True, default='', max_length=120, verbose_name='file')),
                ('dry_run', models.BooleanField(default=False, verbose_name='only checked')),
                ('atomic', models.BooleanField(default=False, verbose_name='all or none')),
                ('state', models.CharField(choices=[('running', 'Running'), ('done', 'Done')], default='running', max_length=10)),
                ('total', models.PositiveIntegerField(default=0, verbose_name='lines')),
                ('good', models.PositiveIntegerField(default=0, verbose_name='could be taken')),
                ('taken', models.PositiveIntegerField(default=0)),
                ('refused', models.PositiveIntegerField(default=0)),
                ('finished_at', models.DateTimeField(null=True, verbose_name='finished')),
                ('system_provider_id', models.UUIDField(null=True)),
                ('reseller_id', models.UUIDField(null=True)),
                ('group_id', models.UUIDField(null=True)),
            ],
            options={
                'verbose_name': 'number import',
                'indexes': [models.Index(fields=['system_provider_id', 'id'], name='import_sp_id'), models.Index(fields=['reseller_id', 'id'], name='import_reseller_id'), models.Index(fields=['group_id', 'id'], name='import_group_id'), models.Index(condition=models.Q(('state', 'running')), fields=['id'], name='import_running')],
            },
        ),
        migrations.CreateModel(
            name='NumberImportLine',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('line', models.PositiveIntegerField()),
                ('number', models.CharField(blank=True, default='', max_length=64)),
                ('login', models.CharField(blank=True, default='', max_length=160)),
                ('friendly_name', models.CharField(blank=True, default='', max_length=120)),
                ('mms', models.CharField(blank=True, default='', max_length=10)),
                ('can_block', models.CharField(blank=True, default='', max_length=10)),
                ('platform', models.CharField(blank=True, default='', max_length=120)),
                ('status', models.CharField(choices=[('waiting', 'Waiting'), ('good', 'Could be taken'), ('taken', 'Taken'), ('refused', 'Refused'), ('not_taken', 'Not taken')], default='waiting', max_length=10)),
                ('code', models.CharField(blank=True, default='', max_length=60)),
                ('detail', models.CharField(blank=True, default='', max_length=400)),
                ('number_id', models.UUIDField(null=True)),
                ('tries', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('claim', models.UUIDField(null=True)),
                ('job', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='cpaas.numberimport')),
            ],
            options={
                'verbose_name': 'line of an import',
                'verbose_name_plural': 'lines of an import',
                'indexes': [models.Index(fields=['job', 'status', 'line', 'id'], name='import_line_status'), models.Index(condition=models.Q(('status', 'waiting')), fields=['job', 'due_at'], name='import_line_due')],
                'constraints': [models.UniqueConstraint(fields=('job', 'line'), name='import_line')],
            },
        ),
    ]
