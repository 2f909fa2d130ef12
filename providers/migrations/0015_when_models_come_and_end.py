from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("providers", "0014_reasons_as_text"),
    ]

    operations = [
        migrations.AddField(
            model_name="availablemodel",
            name="ends_on",
            field=models.DateField(blank=True, help_text="As its provider announced.", null=True),
        ),
        migrations.AddField(
            model_name="availablemodel",
            name="listed_since",
            field=models.DateTimeField(
                blank=True,
                help_text="When it came into a list that there was before; empty for the first list.",
                null=True,
            ),
        ),
    ]
