from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

BATCH = 1000


def name_checks_instead(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """
    Holds said “Check of NAME”; they name the check by its id from now on, as new ones do.

    The digests in ledger entries, which nothing may change, stay those of the former words.
    """
    holds = apps.get_model("billing", "CreditHold").objects.using(schema_editor.connection.alias)
    last = None
    while batch := list((holds.filter(pk__gt=last) if last else holds.all()).order_by("pk")[:BATCH]):
        last = batch[-1].pk
        named = [hold for hold in batch if hold.purpose.startswith("Check of ")]
        for hold in named:
            hold.purpose = f"Candidate check {hold.pk}"
        holds.bulk_update(named, ["purpose"])


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_hold_purpose"), ("candidates", "0002_check_requests")]

    operations = [migrations.RunPython(name_checks_instead, migrations.RunPython.noop)]
