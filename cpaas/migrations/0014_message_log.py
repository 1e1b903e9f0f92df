"""What the message log shows: whose a text is, what nobody got, what was said to carriers, and tickets."""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import portal.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cpaas', '0013_contact_centre'),
        ('portal', '0004_login_is_no_key'),
    ]

    operations = [
        migrations.CreateModel(
            name='Exchange',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('method', models.CharField(max_length=10)),
                ('url', models.CharField(max_length=300)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('excerpt', models.CharField(blank=True, default='', max_length=500)),
                ('error', models.CharField(blank=True, default='', max_length=60)),
                ('took_ms', models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='Ticket',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('number_id', models.UUIDField()),
                ('tn', models.CharField(max_length=20, verbose_name='CPaaS number')),
                ('remote', models.CharField(blank=True, default='', max_length=32, verbose_name='other party')),
                ('message_id', models.UUIDField(null=True)),
                ('subject', models.CharField(max_length=200)),
                ('text', models.TextField(max_length=5000)),
                ('to', models.CharField(choices=[('carrier', 'Carrier'), ('portal', 'Portal')], max_length=10)),
                ('state', models.CharField(choices=[('open', 'Open'), ('answered', 'Answered'), ('closed', 'Closed')], default='open', max_length=10)),
                ('sid', models.CharField(blank=True, default='', max_length=100, verbose_name='SID')),
                ('story', models.JSONField(default=list)),
                ('raised_by', models.CharField(max_length=160)),
                ('system_provider_id', models.UUIDField()),
                ('reseller_id', models.UUIDField()),
                ('group_id', models.UUIDField()),
            ],
        ),
        migrations.CreateModel(
            name='TicketNote',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('by', models.CharField(max_length=160)),
                ('text', models.TextField(max_length=5000)),
            ],
            options={
                'verbose_name': 'note',
            },
        ),
        migrations.AddField(
            model_name='message',
            name='group_id',
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name='message',
            name='reseller_id',
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name='message',
            name='system_provider_id',
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='recipient',
            field=models.CharField(blank=True, db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='sender',
            field=models.CharField(blank=True, db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='text',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddField(
            model_name='webhookevent',
            name='word',
            field=models.CharField(blank=True, db_default='', default='', max_length=60),
        ),
        migrations.AlterField(
            model_name='webhookevent',
            name='state',
            field=models.CharField(choices=[('applied', 'Applied'), ('duplicate', 'Duplicate'), ('unassigned', 'Unassigned'), ('parked', 'Parked'), ('ignored', 'Ignored'), ('unreadable', 'Unreadable'), ('replayed', 'Replayed')], max_length=12),
        ),
        migrations.AddField(
            model_name='exchange',
            name='attempt',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='exchanges', to='cpaas.attempt'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(fields=['system_provider_id', 'id'], name='ticket_sp_id'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(fields=['reseller_id', 'id'], name='ticket_reseller_id'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(fields=['group_id', 'id'], name='ticket_group_id'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(fields=['number_id', 'id'], name='ticket_number_id'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(fields=['message_id', 'id'], name='ticket_message_id'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(models.F('state'), models.F('id'), name='ticket_state_all'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(models.F('system_provider_id'), models.F('state'), models.F('id'), name='ticket_state_sp'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(models.F('reseller_id'), models.F('state'), models.F('id'), name='ticket_state_reseller'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(models.F('to'), models.F('id'), name='ticket_to_all'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(models.F('system_provider_id'), models.F('to'), models.F('id'), name='ticket_to_sp'),
        ),
        migrations.AddIndex(
            model_name='ticket',
            index=models.Index(models.F('reseller_id'), models.F('to'), models.F('id'), name='ticket_to_reseller'),
        ),
        migrations.AddField(
            model_name='ticketnote',
            name='ticket',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='notes', to='cpaas.ticket'),
        ),
        migrations.AddIndex(
            model_name='exchange',
            index=models.Index(fields=['attempt'], name='exchange_attempt'),
        ),
        migrations.AddIndex(
            model_name='ticketnote',
            index=models.Index(fields=['ticket', 'id'], name='note_ticket_id'),
        ),
    ]
