from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F

from organizations.append_only import lift, protect

HELP = {
    "unknown_calls": "Without an answer; nobody knows what they cost.",
    "unreported_calls": "Answered, with tokens nobody knows.",
    "own_server_calls": "To a server that charges no tokens.",
}


def say_why_there_is_no_price(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """
    For events of before it was noted. A failed call without tokens counted as one that costs nothing, and does so.
    """
    alias = schema_editor.connection.alias
    events = apps.get_model("usage", "UsageEvent").objects.using(alias)
    unsaid = events.filter(cost_nanousd__isnull=True, no_price="")
    unsaid.filter(status="lost").update(no_price="no_answer")
    unsaid.filter(usage_reported=True).update(no_price="not_listed")
    unsaid.filter(status="answered").update(no_price="not_reported")
    unsaid.update(no_price="not_billed")
    apps.get_model("usage", "UsageDaily").objects.using(alias).update(unknown_calls=F("lost"))


class Migration(migrations.Migration):
    dependencies = [("usage", "0005_usage_runs")]

    operations = [
        *(
            migrations.AddField(
                "usagedaily",
                name,
                models.PositiveBigIntegerField(default=0, help_text=text),
                preserve_default=False,
            )
            for name, text in HELP.items()
        ),
        lift("usage_usageevent"),
        migrations.RunPython(say_why_there_is_no_price, migrations.RunPython.noop),
        protect("usage_usageevent"),
    ]
