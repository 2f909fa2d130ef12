from __future__ import annotations

from django.db import migrations, models

BEFORE = "The reason of rows from before reasons."


class Migration(migrations.Migration):
    dependencies = [("providers", "0012_unreadable_since")]

    operations = [
        migrations.AddField(
            "providerkey",
            "status_reason",
            models.JSONField(
                blank=True, editable=False, help_text="Why it has this status: a code and what it names.", null=True
            ),
        ),
        migrations.AddField(
            "providerkey",
            "last_check_reason",
            models.JSONField(blank=True, editable=False, help_text="Why that did not.", null=True),
        ),
        migrations.AddField(
            "keyvalidation",
            "reason",
            models.JSONField(blank=True, editable=False, help_text="A code and what it names.", null=True),
        ),
        migrations.AlterField(
            "providerkey", "status_detail", models.CharField(blank=True, help_text=BEFORE, max_length=300)
        ),
        migrations.AlterField(
            "providerkey", "last_check_failure", models.CharField(blank=True, help_text=BEFORE, max_length=300)
        ),
        migrations.AlterField(
            "keyvalidation", "detail", models.CharField(blank=True, help_text=BEFORE, max_length=300)
        ),
    ]
