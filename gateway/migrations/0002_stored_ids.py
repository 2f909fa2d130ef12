from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from organizations.tenancy import wall_in


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_changes"), ("organizations", "0011_found_by_index")]

    operations = [
        migrations.CreateModel(
            name="StoredId",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        help_text="A keyed digest of token, key and id.", primary_key=True, serialize=False
                    ),
                ),
                ("stored_at", models.DateTimeField(db_index=True)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
            ],
        ),
        wall_in("gateway_storedid"),
    ]
