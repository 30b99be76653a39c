"""The account of whatever names none. Source: PROTOCOLS.md 6."""

import uuid

from django.db import migrations


def create_default(apps, schema_editor):
    account = apps.get_model("accounts", "Account")
    account.objects.using(schema_editor.connection.alias).get_or_create(
        slug="default",
        defaults={"name": "Default", "uuid": uuid.UUID("0193a5b0-7000-7000-8000-000000000001")},
    )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [migrations.RunPython(create_default, migrations.RunPython.noop)]
