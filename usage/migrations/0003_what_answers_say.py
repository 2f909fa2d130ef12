from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F

from organizations.append_only import lift, protect


def note_reported_usage(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Events of before did not tell 0 tokens from unknown ones; those with tokens had them reported."""
    events = apps.get_model("usage", "UsageEvent").objects.using(schema_editor.connection.alias)
    inputs = F("uncached_input_tokens") + F("cache_read_tokens") + F("cache_write_tokens")
    events.alias(tokens=inputs + F("output_tokens")).filter(tokens__gt=0).update(usage_reported=True)


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_append_only")]

    operations = [
        lift("usage_usageevent"),
        migrations.AddField(
            "usageevent",
            "finish_reason",
            models.CharField(
                blank=True, default="", help_text="Why the answer ended, in the provider's word.", max_length=40
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "usageevent",
            "service_tier",
            models.CharField(blank=True, default="", help_text="As the provider reported it.", max_length=40),
            preserve_default=False,
        ),
        migrations.AddField(
            "usageevent",
            "usage_reported",
            models.BooleanField(default=False, help_text="Else the tokens are not known, and stand as 0."),
        ),
        migrations.AddField(
            "usageevent",
            "no_price",
            models.CharField(
                blank=True,
                choices=[
                    ("not_billed", "The call failed before a model worked on it"),
                    ("nothing_used", "The call used no tokens"),
                    ("no_answer", "The call left and no answer came back; it may have been billed"),
                    ("not_reported", "The provider reported no tokens"),
                    ("not_listed", "The price list does not know the model"),
                ],
                default="",
                help_text="Why it has no cost.",
                max_length=20,
            ),
            preserve_default=False,
        ),
        migrations.RunPython(note_reported_usage, migrations.RunPython.noop),
        protect("usage_usageevent"),
    ]
