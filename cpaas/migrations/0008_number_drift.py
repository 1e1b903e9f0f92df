"""What the carrier says of each number, and how far the comparison of a platform is (R44)."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cpaas', '0007_number_assignments'),
        ('portal', '0004_login_is_no_key'),
    ]

    operations = [
        migrations.AddField(
            model_name='cpaasnumber',
            name='campaign',
            field=models.CharField(blank=True, default='', editable=False, max_length=40),
        ),
        migrations.AddField(
            model_name='cpaasnumber',
            name='checked_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='cpaasnumber',
            name='hook_state',
            field=models.CharField(blank=True, choices=[('ok', 'Leads here'), ('missing', 'Missing'), ('foreign', 'Leads elsewhere'), ('set_again', 'Set again')], default='', editable=False, max_length=10),
        ),
        migrations.AddField(
            model_name='cpaasnumber',
            name='messaging_class',
            field=models.CharField(blank=True, default='', editable=False, max_length=40),
        ),
        migrations.AddField(
            model_name='cpaasnumber',
            name='needs_attention',
            field=models.BooleanField(default=False, editable=False),
        ),
        migrations.AddField(
            model_name='cpaasnumber',
            name='warnings',
            field=models.JSONField(blank=True, default=list, editable=False),
        ),
        migrations.AddField(
            model_name='cpaasplatform',
            name='compared_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='numbers compared'),
        ),
        migrations.AddField(
            model_name='cpaasplatform',
            name='compared_up_to',
            field=models.UUIDField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='cpaasplatform',
            name='comparing_due_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
