from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("portal", "0003_lists_by_filter")]

    operations = [
        migrations.AlterField(
            model_name="enduser",
            name="login",
            field=models.CharField(help_text="BroadWorks user id.", max_length=160),
        ),
    ]
