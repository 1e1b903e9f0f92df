from django.db import migrations, models


class Migration(migrations.Migration):
    """Who named the hosts of gateways that are there is not known: they go on as they are."""

    dependencies = [
        ("xmpp", "0007_gateway_tries"),
    ]

    operations = [
        migrations.AddField(
            model_name="smsgateway",
            name="host_by_operator",
            field=models.BooleanField(default=True, editable=False),
        ),
        migrations.AlterField(
            model_name="smsgateway",
            name="host_by_operator",
            field=models.BooleanField(default=False, editable=False),
        ),
    ]
