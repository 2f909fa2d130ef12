from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Count, Max, Q, Sum

from organizations.append_only import lift, protect

EVENTS = "usage_usageevent"
DIMENSIONS = ("organization_id", "day", "provider", "model", "action", "key_id", "mode")
NOT_SUMMED = {"id", "organization", "key_label", *DIMENSIONS}


def merge_labels(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """One row of the days on which a key was renamed, under its latest label."""
    model = apps.get_model("usage", "UsageDaily")
    daily = model.objects.using(schema_editor.connection.alias).order_by()
    sums = {f"sum_{field.name}": Sum(field.name) for field in model._meta.local_fields if field.name not in NOT_SUMMED}
    several = daily.values(*DIMENSIONS).annotate(rows=Count("id"), last=Max("id"), **sums).filter(rows__gt=1)
    for group in list(several):
        of_group = daily.filter(**{name: group[name] for name in DIMENSIONS})
        of_group.filter(pk=group["last"]).update(**{name.removeprefix("sum_"): group[name] for name in sums})
        of_group.exclude(pk=group["last"]).delete()


class Migration(migrations.Migration):
    dependencies = [("usage", "0008_daily_rows_are_derived")]

    operations = [
        migrations.RunPython(merge_labels, migrations.RunPython.noop),
        migrations.RemoveConstraint("usagedaily", "one_usage_row_a_day"),
        migrations.AddConstraint(
            "usagedaily",
            models.UniqueConstraint(
                fields=["organization", "day", "provider", "model", "action", "key_id", "mode"],
                name="one_usage_row_a_day",
            ),
        ),
        # A correction takes from a day; a row that is added to one is checked before it is.
        migrations.AlterField(
            "usagedaily", "cost_nanousd", models.BigIntegerField(help_text="Of the calls that have a price.")
        ),
        migrations.AlterField(
            "usagedaily",
            "run_cost_nanousd",
            models.BigIntegerField(help_text="Of all calls of these runs, on whichever day."),
        ),
        *(
            migrations.AlterField(model, "model", models.CharField(help_text="As requested.", max_length=200))
            for model in ("usagedaily", "inflightcall")
        ),
        lift(EVENTS),
        migrations.AddField(
            "usageevent",
            "revision",
            models.PositiveSmallIntegerField(default=0, help_text="Above 0 it corrects the cost of the first."),
        ),
        migrations.AlterField(
            "usageevent",
            "cost_nanousd",
            models.BigIntegerField(blank=True, help_text="Empty: unpriced.", null=True),
        ),
        migrations.AlterField(
            "usageevent",
            "status",
            models.CharField(
                choices=[
                    ("answered", "Answered"),
                    ("failed", "Failed"),
                    ("lost", "Lost"),
                    ("corrected", "Cost corrected"),
                ],
                max_length=10,
            ),
        ),
        migrations.RemoveConstraint("usageevent", "one_event_a_call"),
        migrations.AddConstraint(
            "usageevent",
            models.UniqueConstraint(
                fields=["organization", "call_id", "occurred_at", "revision"], name="one_event_a_revision"
            ),
        ),
        migrations.AddConstraint(
            "usageevent",
            models.CheckConstraint(
                condition=Q(revision=0, cost_nanousd__isnull=True)
                | Q(revision=0, cost_nanousd__gte=0)
                | Q(
                    revision__gt=0,
                    status="corrected",
                    cost_nanousd__isnull=False,
                    usage_reported=True,
                    uncached_input_tokens=0,
                    cache_read_tokens=0,
                    cache_write_tokens=0,
                    output_tokens=0,
                    latency_ms=0,
                    counts_run=False,
                    counts_priced_run=False,
                    counts_partly_priced_run=False,
                ),
                name="a_revision_corrects_cost_alone",
            ),
        ),
        protect(EVENTS),
    ]
