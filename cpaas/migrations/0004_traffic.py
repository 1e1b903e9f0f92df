"""Traffic by the hour, for the chart of the landing page."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cpaas', '0003_keys_of_platforms_change'),
        ('portal', '0002_second_factor_and_names'),
    ]

    operations = [
        migrations.CreateModel(
            name='TrafficHour',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope_id', models.UUIDField()),
                ('hour', models.DateTimeField()),
                ('received', models.PositiveIntegerField(default=0)),
                ('sent', models.PositiveIntegerField(default=0)),
                ('failed', models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.AddConstraint(
            model_name='traffichour',
            constraint=models.UniqueConstraint(fields=('scope_id', 'hour'), name='traffic_scope_hour'),
        ),
    ]
