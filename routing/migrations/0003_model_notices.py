from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from organizations.tenancy import wall_in


class Migration(migrations.Migration):
    dependencies = [
        ("organizations", "0011_found_by_index"),
        ("routing", "0002_agents"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ModelNotice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("new", "New models"),
                            ("cheaper", "A cheaper model"),
                            ("ending", "A model that ends"),
                        ],
                        max_length=10,
                    ),
                ),
                ("action", models.CharField(blank=True, max_length=60)),
                ("provider", models.CharField(blank=True, max_length=40)),
                ("model", models.CharField(blank=True, max_length=200)),
                ("detail", models.JSONField(blank=True, default=dict, help_text="What its sentence names.")),
                ("noted_at", models.DateTimeField()),
                ("dismissed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "dismissed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="organizations.organization"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "kind", "action", "provider", "model"), name="a_model_is_told_of_once"
                    )
                ],
            },
        ),
        wall_in("routing_modelnotice"),
    ]
