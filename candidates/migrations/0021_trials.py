from __future__ import annotations

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from organizations.tenancy import wall_in


class Migration(migrations.Migration):
    dependencies = [
        ("candidates", "0020_ended_checks"),
        ("organizations", "0011_found_by_index"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Trial",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("route", models.JSONField(help_text="The pinned route: provider, model, key.")),
                (
                    "most_nanousd",
                    models.BigIntegerField(
                        blank=True, help_text="What it was quoted to cost at most; empty: no price is known.", null=True
                    ),
                ),
                ("requested_at", models.DateTimeField()),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("lease_token", models.UUIDField(blank=True, editable=False, null=True)),
                ("lease_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "briefing",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="candidates.briefing"
                    ),
                ),
                (
                    "created_by",
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
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="TrialCheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("run_id", models.UUIDField(default=uuid.uuid4, editable=False)),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "Pending"), ("completed", "Completed"), ("failed", "Failed")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("failure_reason", models.JSONField(blank=True, editable=False, null=True)),
                (
                    "verdicts",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="Requirement id → verdict, claimed, quote and reason, as they count.",
                    ),
                ),
                (
                    "check_row",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="candidates.candidatecheck"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
                (
                    "trial",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="checks", to="candidates.trial"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="trial",
            index=models.Index(fields=["organization", "briefing", "-requested_at"], name="trial_by_briefing"),
        ),
        migrations.AddIndex(
            model_name="trial",
            index=models.Index(condition=models.Q(("ended_at", None)), fields=["requested_at"], name="trial_open"),
        ),
        migrations.AddConstraint(
            model_name="trialcheck",
            constraint=models.UniqueConstraint(
                fields=("organization", "trial", "check_row"), name="a_check_once_a_trial"
            ),
        ),
        wall_in("candidates_trial", "candidates_trialcheck"),
    ]
