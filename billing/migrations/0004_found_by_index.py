from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_hold_purpose")]

    operations = [
        migrations.AddIndex("credithold", models.Index(fields=["-created_at", "-id"], name="hold_of_everybody")),
        migrations.AddIndex("ledgerentry", models.Index(fields=["-created_at", "-id"], name="entry_of_everybody")),
        migrations.AddIndex(
            "ledgerentry",
            models.Index(
                fields=["organization", "created_at", "d_posted"],
                condition=models.Q(kind="capture"),
                name="entry_spent",
            ),
        ),
    ]
