from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_append_only")]

    operations = [
        migrations.AlterField(
            "credithold", "purpose", models.CharField(help_text="What for, by its id; names no person.", max_length=200)
        ),
    ]
