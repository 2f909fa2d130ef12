from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from organizations.tenancy import wall_in


class Migration(migrations.Migration):
    dependencies = [("organizations", "0006_api_tokens"), ("providers", "0010_proofs")]

    operations = [
        migrations.CreateModel(
            name="ModelQuirk",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("model", models.CharField(max_length=200)),
                ("field", models.CharField(help_text="By its name in the provider's API.", max_length=40)),
                (
                    "instead",
                    models.CharField(blank=True, help_text="The field that is sent in its place.", max_length=40),
                ),
                (
                    "most",
                    models.PositiveBigIntegerField(
                        blank=True, help_text="The most it may be, where it is a limit.", null=True
                    ),
                ),
                ("noticed_at", models.DateTimeField(auto_now_add=True)),
                (
                    "key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="model_quirks",
                        to="providers.providerkey",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="organizations.organization"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "key", "model", "field"), name="one_quirk_a_model_and_field"
                    )
                ],
            },
        ),
        wall_in("providers_modelquirk"),
    ]
