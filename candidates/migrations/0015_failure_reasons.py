from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("candidates", "0014_words_with_signs")]

    operations = [
        migrations.AddField(
            "candidatecheck",
            "failure_reason",
            models.JSONField(
                blank=True, editable=False, help_text="Why it failed: a code and what it names.", null=True
            ),
        ),
        migrations.AlterField(
            "candidatecheck",
            "failure",
            models.CharField(blank=True, help_text="The reason of rows from before reasons.", max_length=300),
        ),
    ]
