from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from organizations.tenancy import wall_in


class Migration(migrations.Migration):
    dependencies = [
        ("organizations", "0011_found_by_index"),
        ("usage", "0015_events_may_leave"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AnomalyWebhook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("url", models.URLField(max_length=500)),
                ("sealed_secret", models.TextField(help_text="Under the master keys.")),
                ("made_at", models.DateTimeField()),
                ("last_answer", models.CharField(blank=True, help_text="What the last post came to.", max_length=300)),
                ("last_post_at", models.DateTimeField(null=True)),
                (
                    "made_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="organizations.organization"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Anomaly",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("requests", "More requests"),
                            ("cost_per_request", "Dearer requests"),
                            ("requests_drift", "Requests grow week by week"),
                            ("cost_per_request_drift", "Requests get dearer week by week"),
                            ("retries", "Many retries"),
                            ("cache_loss", "Less is read from cache"),
                            ("error_storm", "Many errors"),
                            ("new_model", "A model never used before"),
                            ("new_caller", "A token that never called before"),
                            ("dear_run", "A run far dearer than others"),
                        ],
                        max_length=30,
                    ),
                ),
                ("action", models.CharField(max_length=60)),
                ("mode", models.CharField(choices=[("managed", "Managed"), ("byok", "BYOK")], max_length=10)),
                (
                    "subject",
                    models.CharField(
                        blank=True, help_text="The model, the id of the token or of the run.", max_length=200
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("expected", "Expected"), ("over", "Over")],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("since", models.DateTimeField(help_text="The hour in which it began.")),
                ("seen_at", models.DateTimeField(help_text="The end of the last hour in which it was found.")),
                ("found_at", models.DateTimeField(help_text="When it was found first.")),
                ("hours", models.PositiveIntegerField(help_text="Over which `usual` and `found` are.")),
                ("usual", models.BigIntegerField(help_text="Requests, nano-USD, or millionths where it is a share.")),
                ("found", models.BigIntegerField(help_text="The same, as it was when last seen.")),
                (
                    "a_day_nanousd",
                    models.BigIntegerField(
                        help_text="What the last 24 hours cost more than usual; empty: nobody knows.", null=True
                    ),
                ),
                (
                    "drivers",
                    models.JSONField(help_text="Empty: not measured. []: measured, and nothing found.", null=True),
                ),
                ("unmeasured", models.JSONField(default=list, help_text="What of that is not measured.")),
                (
                    "told_at",
                    models.DateTimeField(
                        help_text="When it was mailed, or decided that nobody is to be told.", null=True
                    ),
                ),
                (
                    "post_attempts",
                    models.PositiveSmallIntegerField(default=0, help_text="Of posting it to the webhook."),
                ),
                (
                    "post_due_at",
                    models.DateTimeField(help_text="When it is posted next; empty: never, or no more.", null=True),
                ),
                ("expected_at", models.DateTimeField(null=True)),
                ("expected_until", models.DateTimeField(help_text="Empty: for good.", null=True)),
                (
                    "expected_most",
                    models.BigIntegerField(help_text="Of `found`: beyond this it is raised again.", null=True),
                ),
                ("expected_why", models.CharField(blank=True, max_length=200)),
                (
                    "expected_by",
                    models.ForeignKey(
                        help_text="Who said so.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
                "verbose_name_plural": "anomalies",
                "indexes": [
                    models.Index(fields=["organization", "-since", "-id"], name="anomaly_by_time"),
                    models.Index(fields=["-seen_at", "-id"], name="anomaly_by_last_seen"),
                    models.Index(
                        condition=models.Q(("post_due_at__isnull", False)),
                        fields=["post_due_at"],
                        name="anomaly_to_post",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")),
                        fields=("organization", "kind", "action", "mode", "subject"),
                        name="one_open_anomaly_a_signature",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "expected"), _negated=True),
                            ("expected_at__isnull", False),
                            _connector="OR",
                        ),
                        name="what_is_expected_was_declared",
                    ),
                ],
            },
        ),
        wall_in("usage_anomaly"),
        wall_in("usage_anomalywebhook"),
    ]
