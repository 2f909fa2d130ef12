from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

OWN_INDEX = "usage_usageevent_organization_id_9e78bf2d"
KIND = ("provider", "model", "action", "mode", "status", "price_source", "no_price", "usage_reported")
LATEST_FIRST = ("-occurred_at", "-id")


class Migration(migrations.Migration):
    dependencies = [("organizations", "0010_done_requests"), ("usage", "0006_what_sums_do_not_cover")]

    operations = [
        migrations.RemoveIndex("usageevent", "usage_event_by_time"),
        # Others begin with the organization, too. By hand: SQLite would make the whole table anew.
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    f"DROP INDEX {OWN_INDEX}", f"CREATE INDEX {OWN_INDEX} ON usage_usageevent (organization_id)"
                )
            ],
            [
                migrations.AlterField(
                    "usageevent",
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                )
            ],
        ),
        migrations.AddIndex("usagedaily", models.Index(fields=["-day", "-id"], name="usage_daily_of_everybody")),
        *(
            migrations.AddIndex("usageevent", models.Index(fields=[*fields, *LATEST_FIRST], name=name))
            for name, fields in (
                ("usage_event_by_time", ["organization"]),
                ("usage_event_by_kind", ["organization", *KIND]),
                ("usage_event_of_everybody", []),
            )
        ),
    ]
