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
        migrations.AlterField(
            model_name="anomaly",
            name="kind",
            field=models.CharField(
                choices=[
                    ("requests", "More requests"),
                    ("cost_per_request", "Dearer requests"),
                    ("requests_drift", "Requests grow week by week"),
                    ("cost_per_request_drift", "Requests get dearer week by week"),
                    ("retries", "Many retries"),
                    ("cache_loss", "Less is read from cache"),
                    ("error_storm", "Many errors"),
                    ("new_model", "A model never used before"),
                    ("new_caller", "A token that never called before"),
                    ("dear_run", "A run far dearer than others"),
                    ("elsewhere", "A key is used elsewhere"),
                ],
                max_length=30,
            ),
        ),
        migrations.AlterField(
            model_name="anomaly",
            name="subject",
            field=models.CharField(
                blank=True,
                help_text="The model, the id of the token, of the run or of the key.",
                max_length=200,
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
