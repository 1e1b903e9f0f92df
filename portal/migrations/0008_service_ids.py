"""Services get ids as all other rows have, so that pages, API and audit trail can name them. What they should do, and
what they have counted, is kept."""

from __future__ import annotations

from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import portal.ids

_kept: list[dict[str, Any]] = []


def keep(apps: Any, schema_editor: Any) -> None:
    rows = apps.get_model("portal", "Service").objects.order_by("pk")
    _kept[:] = [{name: value for name, value in row.items() if name != "id"} for row in rows.values()]


def put_back(apps: Any, schema_editor: Any) -> None:
    service = apps.get_model("portal", "Service")
    service.objects.bulk_create([service(**row) for row in _kept])


class Migration(migrations.Migration):
    dependencies = [("portal", "0007_devices_heard")]

    operations = [
        migrations.RunPython(keep, migrations.RunPython.noop),
        migrations.DeleteModel(name="Service"),
        migrations.CreateModel(
            name='Service',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('name', models.CharField(max_length=60)),
                ('desired', models.CharField(choices=[('running', 'Running'), ('stopped', 'Stopped')], default='running', max_length=10)),
                ('restart_requested_at', models.DateTimeField(null=True)),
                ('actual', models.CharField(choices=[('running', 'Running'), ('starting', 'Starting'), ('stopped', 'Stopped'), ('failed', 'Failed')], default='stopped', max_length=10)),
                ('detail', models.CharField(blank=True, default='', max_length=300)),
                ('holder', models.CharField(blank=True, default='', max_length=120)),
                ('since', models.DateTimeField(default=django.utils.timezone.now)),
                ('seen_at', models.DateTimeField(null=True)),
                ('counters', models.JSONField(default=dict)),
                ('system_provider', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='services', to='portal.systemprovider')),
            ],
            options={
                'verbose_name': 'service',
                'constraints': [models.UniqueConstraint(fields=('name', 'system_provider'), name='service_name_tenant'), models.UniqueConstraint(condition=models.Q(('system_provider', None)), fields=('name',), name='service_name_of_all')],
            },
        ),
        migrations.RunPython(put_back, migrations.RunPython.noop),
    ]
