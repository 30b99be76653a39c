import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0004_bulk_sends"),
    ]

    operations = [
        migrations.AlterField(
            model_name="presence",
            name="since",
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
    ]
