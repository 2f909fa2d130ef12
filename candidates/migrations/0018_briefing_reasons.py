from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("candidates", "0017_briefing_models")]

    operations = [
        migrations.AddField(
            "briefing",
            "state_reason",
            models.JSONField(
                blank=True, editable=False, help_text="Why it is in this state: a code and what it names.", null=True
            ),
        ),
        migrations.AlterField(
            "briefing",
            "state_detail",
            models.CharField(blank=True, help_text="The reason of rows from before reasons.", max_length=300),
        ),
    ]
