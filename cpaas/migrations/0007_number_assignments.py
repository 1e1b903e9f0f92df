"""Who had which number when, begun with whoever has one now (S4.6)."""

from itertools import islice

import django.utils.timezone
import portal.ids
from django.db import migrations, models


def begin(apps, schema_editor):
    """Of numbers that were deleted or transferred before, nothing is known."""
    Assignment = apps.get_model("cpaas", "NumberAssignment")
    numbers = apps.get_model("cpaas", "CpaasNumber").objects.exclude(status="removing").filter(user__isnull=False)
    begun = (
        Assignment(
            number_id=number.pk,
            tn=number.number,
            carrier=number.platform.carrier,
            user_id=number.user.pk,
            user_name=number.user.name,
            user_login=number.user.login,
            licence=number.user.licence,
            started_at=number.created_at,
            system_provider_id=number.system_provider_id,
            reseller_id=number.reseller_id,
            group_id=number.group_id,
        )
        for number in numbers.select_related("user", "platform").order_by("id").iterator(chunk_size=1000)
    )
    while batch := list(islice(begun, 1000)):
        Assignment.objects.bulk_create(batch)


class Migration(migrations.Migration):

    dependencies = [
        ('cpaas', '0006_former_hooks'),
    ]

    operations = [
        migrations.CreateModel(
            name='NumberAssignment',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('number_id', models.UUIDField()),
                ('tn', models.CharField(max_length=20)),
                ('carrier', models.CharField(max_length=20)),
                ('user_id', models.UUIDField()),
                ('user_name', models.CharField(max_length=160)),
                ('user_login', models.CharField(max_length=160)),
                ('licence', models.CharField(max_length=20)),
                ('started_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('system_provider_id', models.UUIDField()),
                ('reseller_id', models.UUIDField()),
                ('group_id', models.UUIDField()),
            ],
            options={
                'verbose_name': 'number assignment',
                'indexes': [models.Index(fields=['tn', 'id'], name='assignment_tn'), models.Index(fields=['system_provider_id', 'tn', 'id'], name='assignment_sp_tn'), models.Index(fields=['reseller_id', 'tn', 'id'], name='assignment_reseller_tn'), models.Index(fields=['group_id', 'tn', 'id'], name='assignment_group_tn'), models.Index(condition=models.Q(('ended_at', None)), fields=['user_id'], name='assignment_open_of_user')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('number_id',), name='assignment_one_at_a_time')],
            },
        ),
        migrations.RunPython(begin, migrations.RunPython.noop),
    ]
