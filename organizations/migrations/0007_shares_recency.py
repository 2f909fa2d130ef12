from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0006_api_tokens")]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="shares_recency",
            field=models.BooleanField(
                default=False,
                help_text="Takes part in the recency network: checks by others count here, and its own paid ones there.",
            ),
        ),
    ]
