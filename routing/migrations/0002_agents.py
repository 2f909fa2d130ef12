from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from organizations.tenancy import wall_in


class Migration(migrations.Migration):
    dependencies = [
        ("organizations", "0011_found_by_index"),
        ("providers", "0014_reasons_as_text"),
        ("routing", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="routingrule",
            name="allowed_models",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="“provider” or “provider/model” of all that this action may be routed to; empty: anything.",
            ),
        ),
        migrations.AddField(
            model_name="routingrule",
            name="most_output_tokens",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="routingrule",
            name="paused_at",
            field=models.DateTimeField(blank=True, help_text="Since when nothing runs by it.", null=True),
        ),
        migrations.AddField(
            model_name="routingrule",
            name="reasoning_effort",
            field=models.CharField(
                blank=True,
                choices=[
                    ("none", "None"),
                    ("minimal", "Minimal"),
                    ("low", "Low"),
                    ("medium", "Medium"),
                    ("high", "High"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="routingrule",
            name="temperature",
            field=models.DecimalField(blank=True, decimal_places=2, max_digits=3, null=True),
        ),
        migrations.CreateModel(
            name="Agent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=40)),
                ("name", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=300)),
                ("managed_provider", models.CharField(blank=True, max_length=40)),
                ("managed_model", models.CharField(blank=True, max_length=200)),
                ("managed_calls_a_day", models.PositiveIntegerField(blank=True, null=True)),
                ("managed_nanousd_a_day", models.PositiveBigIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
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
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="agents",
                        to="organizations.organization",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CallableAgent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="routing.agent"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="organizations.organization"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CallAccess",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("every_agent", models.BooleanField(default=False)),
                ("is_bound", models.BooleanField(default=False)),
                (
                    "allowed_models",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="“provider” or “provider/model” of all that it may reach; empty: anything.",
                    ),
                ),
                ("requests_a_minute", models.PositiveIntegerField(blank=True, null=True)),
                ("tokens_a_minute", models.PositiveIntegerField(blank=True, null=True)),
                ("calls_at_once", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "agents",
                    models.ManyToManyField(
                        related_name="accesses", through="routing.CallableAgent", to="routing.agent"
                    ),
                ),
                (
                    "member",
                    models.ForeignKey(
                        help_text="In whose name its calls stand in the books.",
                        on_delete=django.db.models.deletion.CASCADE,
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
                (
                    "token",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="call_access",
                        to="organizations.apitoken",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="callableagent",
            name="access",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="named_agents", to="routing.callaccess"
            ),
        ),
        migrations.CreateModel(
            name="DirectKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("provider", models.CharField(max_length=40)),
                (
                    "access",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="direct_keys", to="routing.callaccess"
                    ),
                ),
                (
                    "key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="providers.providerkey"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="organizations.organization"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="agent",
            constraint=models.UniqueConstraint(fields=("organization", "slug"), name="one_agent_a_slug"),
        ),
        migrations.AddConstraint(
            model_name="agent",
            constraint=models.UniqueConstraint(
                condition=models.Q(("archived_at", None)), fields=("organization", "name"), name="one_agent_a_name"
            ),
        ),
        migrations.AddConstraint(
            model_name="agent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("managed_calls_a_day", None), ("managed_nanousd_a_day", None)),
                    models.Q(("managed_calls_a_day__isnull", False), ("managed_nanousd_a_day__isnull", False)),
                    _connector="OR",
                ),
                name="a_managed_agent_has_both_caps",
            ),
        ),
        migrations.AddConstraint(
            model_name="agent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("managed_calls_a_day", None), ("managed_model", ""), ("managed_provider", "")),
                    models.Q(
                        ("managed_calls_a_day__isnull", False),
                        models.Q(("managed_provider", ""), _negated=True),
                        models.Q(("managed_model", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="a_managed_agent_has_a_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="callableagent",
            constraint=models.UniqueConstraint(
                fields=("organization", "access", "agent"), name="an_agent_once_a_token"
            ),
        ),
        migrations.AddConstraint(
            model_name="directkey",
            constraint=models.UniqueConstraint(
                fields=("organization", "access", "provider"), name="one_direct_key_a_provider"
            ),
        ),
        wall_in("routing_agent", "routing_callaccess", "routing_callableagent", "routing_directkey"),
    ]
