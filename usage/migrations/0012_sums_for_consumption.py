from __future__ import annotations

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from organizations.append_only import lift, protect
from organizations.tenancy import wall_in

EVENTS = "usage_usageevent"
RETRIED = "Sent again, as nothing had been answered before."
COUNTS = {
    "calls": "",
    "answered": "",
    "failed": "",
    "lost": "",
    "retried_calls": RETRIED,
    "unpriced_calls": "Answered, at a cost nobody knows.",
    "unknown_calls": "Without an answer; nobody knows what they cost.",
    "unreported_calls": "Answered, with tokens nobody knows.",
    "own_server_calls": "To a server that charges no tokens.",
    "uncached_input_tokens": "",
    "cache_read_tokens": "",
    "cache_write_tokens": "",
    "output_tokens": "Reasoning included.",
    "reasoning_tokens": "A part of output_tokens.",
}
BOUNDS = (
    *(100, 200, 350, 500, 750, 1000, 1500, 2000, 3000, 5000),
    *(7500, 10000, 15000, 20000, 30000, 60000, 120000),
)
WITHIN = [f"within_{bound}_ms" for bound in BOUNDS]
PARTS = {
    "system_tokens": "Instructions.",
    "tools_tokens": "Definitions of tools and what they returned.",
    "retrieved_tokens": "Documents given along, such as a profile.",
    "history_tokens": "Earlier turns.",
    "user_tokens": "The last turn of the user.",
}
DIMENSIONS = ("provider", "model", "action", "mode")


def count(text: str = "") -> models.Field:
    return models.PositiveBigIntegerField(help_text=text)


def organization() -> models.Field:
    return models.ForeignKey(
        "organizations.organization",
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )


def sums(name: str, plural: str, *own: tuple[str, models.Field]) -> migrations.CreateModel:
    return migrations.CreateModel(
        name,
        [
            ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            *((measure, count(text)) for measure, text in COUNTS.items()),
            ("cost_nanousd", models.BigIntegerField(help_text="Of the calls that have a price.")),
            ("latency_ms", count()),
            *((measure, count()) for measure in WITHIN),
            ("runs", count()),
            *own,
            ("provider", models.CharField(max_length=40)),
            ("model", models.CharField(max_length=200)),
            ("action", models.CharField(max_length=60)),
            ("mode", models.CharField(max_length=10, choices=[("managed", "Managed"), ("byok", "BYOK")])),
            ("organization", organization()),
        ],
        options={"verbose_name_plural": plural},
    )


def derive_anew(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """The days hold no sums by token, nor how long answers took. The next rollup derives all of them from the events."""
    alias = schema_editor.connection.alias
    apps.get_model("usage", "UsageDaily").objects.using(alias).all().delete()
    apps.get_model("usage", "RollupState").objects.using(alias).update(position=0, rebuilt_to_id=0)


class Migration(migrations.Migration):
    dependencies = [
        ("organizations", "0011_found_by_index"),
        ("usage", "0011_further_attempts_of_a_call"),
    ]

    operations = [
        migrations.RunPython(derive_anew, derive_anew),
        migrations.RemoveConstraint("usagedaily", "one_usage_row_a_day"),
        *(
            migrations.AddField("usagedaily", name, field, preserve_default=False)
            for name, field in {
                "token_id": models.BigIntegerField(
                    default=0, help_text="The API token that the calls came by; 0: none."
                ),
                "member_id": models.BigIntegerField(
                    default=0, help_text="The user whose token that was then; 0: nobody."
                ),
                "retried_calls": models.PositiveBigIntegerField(default=0, help_text=RETRIED),
                **{name: models.PositiveBigIntegerField(default=0) for name in (*WITHIN, *PARTS)},
                "uncached_prefix_tokens": models.PositiveBigIntegerField(
                    default=0, help_text="Of instructions and tools: what was not read from a cache."
                ),
                "input_cost_nanousd": models.BigIntegerField(
                    default=0, help_text="Of the calls whose cost is told apart."
                ),
                "output_cost_nanousd": models.BigIntegerField(default=0, help_text="Of the same calls."),
            }.items()
        ),
        migrations.AlterField("usagedaily", "runs", count()),
        migrations.AddConstraint(
            "usagedaily",
            models.UniqueConstraint(
                fields=[
                    "organization",
                    "day",
                    "provider",
                    "model",
                    "action",
                    "key_id",
                    "mode",
                    "token_id",
                    "member_id",
                ],
                name="one_usage_row_a_day",
            ),
        ),
        sums(
            "UsageHourly",
            "usage by hour",
            ("hour", models.DateTimeField(help_text="When it began, UTC.")),
        ),
        migrations.AddConstraint(
            "usagehourly",
            models.UniqueConstraint(fields=["organization", "hour", *DIMENSIONS], name="one_usage_row_an_hour"),
        ),
        migrations.AddIndex("usagehourly", models.Index(fields=["hour"], name="usage_hourly_by_age")),
        wall_in("usage_usagehourly"),
        sums(
            "UsageByLabel",
            "usage by label",
            ("day", models.DateField()),
            ("name", models.CharField(max_length=200)),
            ("value", models.CharField(max_length=200)),
        ),
        migrations.AddConstraint(
            "usagebylabel",
            models.UniqueConstraint(
                fields=["organization", "day", "name", "value", *DIMENSIONS], name="one_usage_row_a_label"
            ),
        ),
        wall_in("usage_usagebylabel"),
        lift(EVENTS),
        *(
            migrations.AddField("usageevent", name, models.PositiveBigIntegerField(default=0, help_text=text))
            for name, text in PARTS.items()
        ),
        migrations.AddField(
            "usageevent",
            "input_cost_nanousd",
            models.PositiveBigIntegerField(
                null=True,
                blank=True,
                help_text="The part of the cost that is of input; empty where it cannot be told apart.",
            ),
        ),
        protect(EVENTS),
    ]
