from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_found_by_index")]

    operations = [
        migrations.RemoveIndex("ledgerentry", "entry_given"),
        migrations.RemoveIndex("ledgerentry", "entry_spent"),
        migrations.AddIndex(
            "ledgerentry",
            models.Index(fields=["organization", "-seq"], condition=Q(d_held=0), name="entry_given"),
        ),
        migrations.AddIndex(
            "ledgerentry",
            models.Index(
                fields=["organization", "created_at", "d_posted", "kind"],
                condition=Q(kind="capture"),
                name="entry_spent",
            ),
        ),
    ]
