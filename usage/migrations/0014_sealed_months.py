from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now

from organizations.append_only import protect
from organizations.tenancy import wall_in


class Migration(migrations.Migration):
    dependencies = [
        ("organizations", "0001_initial"),
        ("usage", "0013_saved_views"),
    ]

    operations = [
        migrations.CreateModel(
            name="SealedMonth",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.DateField(help_text="Its first day.")),
                (
                    "layout",
                    models.PositiveSmallIntegerField(help_text="By which columns and words its files are written."),
                ),
                ("last_id", models.BigIntegerField()),
                ("position", models.BigIntegerField(help_text="See usage/ingest.py.")),
                ("rebuilt_to_id", models.BigIntegerField()),
                (
                    "system_identifier",
                    models.CharField(
                        blank=True, help_text="The PostgreSQL cluster that counts the position.", max_length=40
                    ),
                ),
                ("pinned", models.JSONField()),
                ("files", models.JSONField(help_text="Of each file its rows and the SHA-256 of its bytes.")),
                ("sealed_at", models.DateTimeField(db_default=Now(), editable=False)),
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
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "month"), name="one_seal_a_month"),
                ],
            },
        ),
        protect("usage_sealedmonth"),
        wall_in("usage_sealedmonth"),
    ]
