from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0016_anomalies")]

    operations = [
        migrations.AddField(
            model_name="anomaly",
            name="also",
            field=models.JSONField(
                default=list, help_text="What else was found of the same cause (VIEW), told with it."
            ),
        ),
        migrations.AddField(
            model_name="rollupstate",
            name="judged_to",
            field=models.DateTimeField(
                blank=True, null=True, help_text="Hours that end later were not looked through for anomalies yet."
            ),
        ),
    ]
