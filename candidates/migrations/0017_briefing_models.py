from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("candidates", "0016_failures_as_text"),
        ("providers", "0014_reasons_as_text"),
    ]

    operations = [
        migrations.AddField(
            model_name="briefing",
            name="key",
            field=models.ForeignKey(
                blank=True,
                help_text="With the model, what serves its checks; without, they go as the action is routed.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="providers.providerkey",
            ),
        ),
        migrations.AddField(
            model_name="briefing",
            name="model",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddIndex(
            model_name="briefing",
            index=models.Index(
                condition=models.Q(("archived_at", None), ("key__isnull", False)),
                fields=["organization", "-id"],
                name="briefing_with_model",
            ),
        ),
        migrations.AddConstraint(
            model_name="briefing",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("key", None), ("model", "")),
                    models.Q(("key__isnull", False), models.Q(("model", ""), _negated=True)),
                    _connector="OR",
                ),
                name="a_briefings_model_has_a_key",
            ),
        ),
    ]
