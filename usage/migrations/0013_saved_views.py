from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from organizations.tenancy import wall_in


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("organizations", "0011_found_by_index"),
        ("usage", "0012_sums_for_consumption"),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedView",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80)),
                (
                    "query",
                    models.CharField(help_text="Of the address, as the form of the page reads it.", max_length=2000),
                ),
                (
                    "is_shared",
                    models.BooleanField(default=False, help_text="With everybody in the organization."),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_shared", True)),
                        fields=("organization", "name"),
                        name="one_shared_view_a_name",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_shared", False)),
                        fields=("organization", "created_by", "name"),
                        name="one_personal_view_a_name",
                    ),
                ],
            },
        ),
        wall_in("usage_savedview"),
    ]
