from __future__ import annotations

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Count, F, Min, Q

from organizations.append_only import lift, protect
from organizations.tenancy import wall_in

BATCH = 2000
ADDED = ("partly_priced_runs", "own_server_runs", "run_cost_nanousd", "run_tokens", "run_unreported_calls")
HELP = {
    "runs": "That began on the day; so in all figures of runs.",
    "priced_runs": "At least one of their calls has a price.",
    "partly_priced_runs": "Another one has a cost that nobody knows.",
    "own_server_runs": "Priced first by a server that charges no tokens.",
    "run_cost_nanousd": "Of all calls of these runs, on whichever day.",
    "run_tokens": "Of all calls of these runs, on whichever day.",
    "run_unreported_calls": "Their calls with tokens nobody knows.",
}


def count_as_before(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """
    Events count what they counted; their runs belong to the day of each call, as they did.

    No event is changed twice: for a row that this transaction wrote before, PostgreSQL puts off a check of its foreign
    keys, and refuses to alter the table meanwhile.
    """
    alias = schema_editor.connection.alias
    events = apps.get_model("usage", "UsageEvent").objects.using(alias)
    begins, is_priced = Q(iteration=1), Q(cost_nanousd__isnull=False, follows_priced=False)
    events.filter(begins, is_priced).update(counts_run=True, counts_priced_run=True)
    events.filter(begins, counts_run=False).update(counts_run=True)
    events.filter(is_priced, counts_priced_run=False).update(counts_priced_run=True)
    tokens = F("uncached_input_tokens") + F("cache_read_tokens") + F("cache_write_tokens") + F("output_tokens")
    daily = apps.get_model("usage", "UsageDaily").objects.using(alias)
    daily.update(run_cost_nanousd=F("cost_nanousd"), run_tokens=tokens, run_unreported_calls=F("lost"))


def note_begun_runs(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """So that a run which goes on after the upgrade is not counted anew."""
    alias = schema_editor.connection.alias
    run_model = apps.get_model("usage", "UsageRun")
    events = apps.get_model("usage", "UsageEvent").objects.using(alias).order_by()
    runs = events.values_list("organization_id", "action", "run_id").annotate(
        started_at=Min("occurred_at"),
        priced=Count("id", filter=Q(cost_nanousd__isnull=False)),
        unpriced=Count("id", filter=Q(cost_nanousd__isnull=True) & ~Q(status="failed")),
    )
    rows = []
    for organization_id, action, run_id, started_at, priced, unpriced in runs.iterator(BATCH):
        rows.append(
            run_model(
                organization_id=organization_id,
                action=action,
                run_id=run_id,
                part=0,
                started_at=started_at,
                is_priced=bool(priced),
                is_incomplete=bool(unpriced),
            )
        )
        if len(rows) == BATCH:
            run_model.objects.using(alias).bulk_create(rows)
            rows = []
    run_model.objects.using(alias).bulk_create(rows)


def follow_as_before(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    events = apps.get_model("usage", "UsageEvent").objects.using(schema_editor.connection.alias)
    events.filter(cost_nanousd__isnull=False, counts_priced_run=False).update(follows_priced=True)


class Migration(migrations.Migration):
    dependencies = [("organizations", "0001_initial"), ("usage", "0004_own_servers_and_why_a_call_has_no_price")]

    operations = [
        migrations.CreateModel(
            name="UsageRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("action", models.CharField(max_length=60)),
                ("run_id", models.UUIDField()),
                ("part", models.PositiveIntegerField(help_text="Whole days since the run began.")),
                ("started_at", models.DateTimeField(help_text="When the first call of this part left.")),
                (
                    "first_call_id",
                    models.UUIDField(
                        help_text="The call that counts it; empty in runs of before this table.", null=True
                    ),
                ),
                ("is_priced", models.BooleanField(default=False, help_text="One of its calls has a price.")),
                (
                    "is_incomplete",
                    models.BooleanField(default=False, help_text="One of its calls has a cost that nobody knows."),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "run_id", "action", "part"), name="a_run_is_counted_once"
                    )
                ],
            },
        ),
        wall_in("usage_usagerun"),
        *(
            migrations.AddField(
                "usagedaily",
                name,
                models.PositiveBigIntegerField(default=0, help_text=HELP[name]),
                preserve_default=False,
            )
            for name in ADDED
        ),
        *(
            migrations.AlterField("usagedaily", name, models.PositiveBigIntegerField(help_text=HELP[name]))
            for name in ("runs", "priced_runs")
        ),
        lift("usage_usageevent"),
        migrations.AddField(
            "usageevent",
            "counts_run",
            models.BooleanField(default=False, help_text="It counts its run; see usage/runs.py."),
        ),
        migrations.AddField(
            "usageevent",
            "counts_priced_run",
            models.BooleanField(default=False, help_text="It counts its run as one with a price."),
        ),
        migrations.AddField(
            "usageevent",
            "counts_partly_priced_run",
            models.BooleanField(
                default=False, help_text="It counts its run as one of which a part has a price, and a part has none."
            ),
        ),
        migrations.AddField(
            "usageevent",
            "run_day",
            models.DateField(
                blank=True,
                help_text="The UTC day its run belongs to, where that is not the day the call left.",
                null=True,
            ),
        ),
        migrations.RunPython(count_as_before, follow_as_before),
        migrations.RunPython(note_begun_runs, migrations.RunPython.noop),
        migrations.RemoveField("usageevent", "follows_priced"),
        migrations.AddIndex(
            "usageevent",
            models.Index(
                condition=models.Q(("run_day__isnull", False)),
                fields=["organization", "run_day"],
                name="usage_event_by_run_day",
            ),
        ),
        protect("usage_usageevent"),
    ]
