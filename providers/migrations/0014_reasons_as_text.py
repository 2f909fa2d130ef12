from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from providers.adapters.reasons import Reason

AT_ONCE = 1_000
COLUMNS = (
    ("ProviderKey", "status_reason", "status_detail"),
    ("ProviderKey", "last_check_reason", "last_check_failure"),
    ("KeyValidation", "reason", "detail"),
)


def write_texts(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """On the way back: an earlier version shows the text alone."""
    for model, reason, text in COLUMNS:
        rows = apps.get_model("providers", model).objects.using(schema_editor.connection.alias)
        told = rows.filter(**{f"{reason}__isnull": False}).only("pk", reason, text).order_by("pk")
        batch = []
        for row in told.iterator(chunk_size=AT_ONCE):
            setattr(row, text, Reason.from_json(getattr(row, reason)).of_key[:300])
            batch.append(row)
            if len(batch) == AT_ONCE:
                rows.bulk_update(batch, [text])
                batch = []
        rows.bulk_update(batch, [text])


class Migration(migrations.Migration):
    dependencies = [("providers", "0013_reasons")]

    operations = [migrations.RunPython(migrations.RunPython.noop, write_texts)]
