from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0010_asked_through_the_gateway")]

    operations = [
        migrations.AddIndex(
            "usageevent",
            models.Index(
                condition=models.Q(("attempt_of__isnull", False)),
                fields=["organization", "attempt_of"],
                name="usage_event_by_first_attempt",
            ),
        ),
    ]
