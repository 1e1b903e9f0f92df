from django.db import migrations, models
from django.db.migrations.state import StateApps
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import OuterRef, Subquery


def fill(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The reseller of the account's user. Made to be required by the next migration: PostgreSQL does not do both in
    one transaction."""
    users = apps.get_model("portal", "EndUser").objects.filter(pk=OuterRef("user_id"))
    apps.get_model("xmpp", "ImpAccount").objects.update(reseller=Subquery(users.values("reseller_id")))


class Migration(migrations.Migration):

    dependencies = [
        ("portal", "0007_devices_heard"),
        ("xmpp", "0004_im_receivers"),
    ]

    operations = [
        migrations.AddField(
            model_name="impaccount",
            name="reseller",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                null=True,
                on_delete=models.deletion.PROTECT,
                related_name="+",
                to="portal.reseller",
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
