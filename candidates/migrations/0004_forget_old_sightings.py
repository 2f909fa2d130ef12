from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def forget(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """They were noted of organizations that never joined, under digests of a link or an e-mail alone."""
    apps.get_model("candidates", "ProfileSighting").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("candidates", "0003_ledger_names_no_people")]

    operations = [migrations.RunPython(forget, migrations.RunPython.noop)]
