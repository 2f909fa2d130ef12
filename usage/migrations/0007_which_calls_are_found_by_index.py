from __future__ import annotations

from django.db import migrations, models

KIND = ("provider", "model", "action", "mode", "status", "price_source", "no_price", "usage_reported")
LATEST_FIRST = ("-occurred_at", "-id")


class Migration(migrations.Migration):
    dependencies = [("usage", "0006_what_sums_do_not_cover")]

    operations = [
        migrations.RemoveIndex("usageevent", "usage_event_by_time"),
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
