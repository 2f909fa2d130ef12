from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0011_modelquirk")]

    operations = [
        migrations.AddField(
            "providerkey",
            "unreadable_since",
            models.DateTimeField(
                blank=True,
                editable=False,
                help_text="When it was found that the secret does not open; empty again as soon as it opens.",
                null=True,
            ),
        ),
    ]
