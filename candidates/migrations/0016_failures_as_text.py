from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from candidates.failures import Failure

AT_ONCE = 1_000


def write_texts(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """On the way back: an earlier version shows the text alone."""
    rows = apps.get_model("candidates", "CandidateCheck").objects.using(schema_editor.connection.alias)
    told = rows.filter(failure_reason__isnull=False).only("pk", "failure", "failure_reason").order_by("pk")
    batch = []
    for row in told.iterator(chunk_size=AT_ONCE):
        row.failure = Failure.from_json(row.failure_reason or {"code": ""}).sentence[:300]
        batch.append(row)
        if len(batch) == AT_ONCE:
            rows.bulk_update(batch, ["failure"])
            batch = []
    rows.bulk_update(batch, ["failure"])


class Migration(migrations.Migration):
    dependencies = [("candidates", "0015_failure_reasons")]

    operations = [migrations.RunPython(migrations.RunPython.noop, write_texts)]
