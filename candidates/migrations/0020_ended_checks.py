from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("candidates", "0019_briefing_reasons_as_text")]

    operations = [
        migrations.AddIndex(
            model_name="candidatecheck",
            index=models.Index(
                fields=["organization", "completed_at", "status", "mode", "category", "charged", "briefing"],
                condition=models.Q(completed_at__isnull=False),
                name="check_ended",
            ),
        ),
    ]
