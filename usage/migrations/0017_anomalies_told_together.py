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
    ]
