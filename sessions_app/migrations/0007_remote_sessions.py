import secrets

from django.db import migrations, models

import sessions_app.models.sessions


def name_the_old_ones(apps, schema_editor):
    session = apps.get_model("sessions_app", "Session")
    for row in session.objects.filter(public_id=None).only("pk").iterator():
        session.objects.filter(pk=row.pk).update(public_id=f"session_{secrets.token_urlsafe(18)}")


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0006_presence_client_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="session",
            name="public_id",
            field=models.CharField(editable=False, max_length=64, null=True, unique=True),
        ),
        migrations.RunPython(name_the_old_ones, migrations.RunPython.noop, elidable=True),
        migrations.AlterField(
            model_name="session",
            name="public_id",
            field=models.CharField(
                default=sessions_app.models.sessions.new_public_id,
                editable=False,
                max_length=64,
                unique=True,
            ),
        ),
        migrations.AlterField(
            model_name="sessionevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("user", "User"),
                    ("assistant", "Assistant"),
                    ("system", "System"),
                    ("tool", "Tool"),
                    ("result", "Result"),
                    ("event", "Event"),
                ],
                max_length=16,
            ),
        ),
    ]
