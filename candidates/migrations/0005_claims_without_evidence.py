from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("candidates", "0004_forget_old_sightings")]

    operations = [
        migrations.AddField(
            "candidatecheck",
            "rubric_version",
            models.PositiveSmallIntegerField(
                default=1,
                help_text="By which rules the verdicts were read (candidates.prompts.check); never changed later.",
            ),
        ),
        migrations.AddField(
            "requirementverdict",
            "claimed",
            models.CharField(
                blank=True,
                choices=[
                    ("met", "Met"),
                    ("partly", "Partly met"),
                    ("not_met", "Not met"),
                    ("unknown", "Unknown"),
                ],
                default="",
                help_text="The model's verdict, if it gave no evidence for it.",
                max_length=8,
            ),
            preserve_default=False,
        ),
    ]
