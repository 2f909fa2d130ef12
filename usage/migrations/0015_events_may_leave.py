from __future__ import annotations

from django.db import migrations, models

from organizations.append_only import guard_anew


class Migration(migrations.Migration):
    dependencies = [("usage", "0014_sealed_months")]

    operations = [
        migrations.AddField(
            "rollupstate",
            "derived_from",
            models.DateField(
                null=True, blank=True, help_text="Sums of earlier days are never derived anew: their events have left."
            ),
        ),
        guard_anew("usage_usageevent"),
    ]
