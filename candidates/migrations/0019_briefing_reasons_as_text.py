from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from candidates.failures import Failure


def write_texts(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """On the way back: an earlier version shows the text alone."""
    rows = apps.get_model("candidates", "Briefing").objects.using(schema_editor.connection.alias)
    for pk, reason in rows.filter(state_reason__isnull=False).values_list("pk", "state_reason"):
        rows.filter(pk=pk).update(state_detail=Failure.from_json(reason or {"code": ""}).sentence[:300])


class Migration(migrations.Migration):
    dependencies = [("candidates", "0018_briefing_reasons")]

    operations = [migrations.RunPython(migrations.RunPython.noop, write_texts)]
