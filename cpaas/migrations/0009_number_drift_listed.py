"""The list of numbers that differ at the carrier (rule 7)."""

from django.db import migrations, models

from portal.indexes import AddIndexBesideWrites


class Migration(migrations.Migration):
    # Indexes are built beside the writers, which a transaction would not allow.
    atomic = False

    dependencies = [('cpaas', '0008_number_drift')]

    operations = [
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('id'), condition=models.Q(('needs_attention', True)), name='number_attention_all'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('system_provider'), models.F('id'), condition=models.Q(('needs_attention', True)), name='number_attention_sp'),
        ),
        AddIndexBesideWrites(
            model_name='cpaasnumber',
            index=models.Index(models.F('reseller'), models.F('id'), condition=models.Q(('needs_attention', True)), name='number_attention_reseller'),
        ),
    ]
