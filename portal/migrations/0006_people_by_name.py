"""People of a group by name, and the groups of an enterprise, for directories (rule 7)."""

from django.db import migrations, models

from portal.indexes import AddIndexBesideWrites, Folded


class Migration(migrations.Migration):
    # Indexes are built beside the writers, which a transaction would not allow.
    atomic = False

    dependencies = [("portal", "0005_directories")]

    operations = [
        AddIndexBesideWrites(
            model_name="enduser",
            index=models.Index(models.F("group"), Folded("name"), models.F("id"), name="user_group_name"),
        ),
        AddIndexBesideWrites(
            model_name="group",
            index=models.Index(
                condition=models.Q(("enterprise", ""), _negated=True),
                fields=["reseller", "enterprise"],
                name="group_enterprise",
            ),
        ),
    ]
