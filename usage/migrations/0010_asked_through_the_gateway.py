from __future__ import annotations

from django.db import migrations, models

from organizations.append_only import lift, protect


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0009_revisions_and_labels"),
    ]

    operations = [
        lift("usage_usageevent"),
        migrations.AddField(
            model_name="inflightcall",
            name="attempt",
            field=models.PositiveSmallIntegerField(default=1),
        ),
        migrations.AddField(
            model_name="inflightcall",
            name="attempt_of",
            field=models.UUIDField(blank=True, help_text="The call that this is a further attempt of.", null=True),
        ),
        migrations.AddField(
            model_name="inflightcall",
            name="is_stream",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="inflightcall",
            name="labels",
            field=models.JSONField(blank=True, default=dict, help_text="What the caller sorts its calls by."),
        ),
        migrations.AddField(
            model_name="inflightcall",
            name="member_id",
            field=models.BigIntegerField(blank=True, help_text="The user whose token that was then.", null=True),
        ),
        migrations.AddField(
            model_name="inflightcall",
            name="rule_version",
            field=models.PositiveIntegerField(blank=True, help_text="Of the routing rule that it went by.", null=True),
        ),
        migrations.AddField(
            model_name="inflightcall",
            name="token_id",
            field=models.BigIntegerField(blank=True, help_text="The API token that it came by.", null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="are_tokens_estimated",
            field=models.BooleanField(
                default=False, help_text="Counted by us, as the answer broke off before the provider had."
            ),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="attempt",
            field=models.PositiveSmallIntegerField(default=1),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="attempt_of",
            field=models.UUIDField(blank=True, help_text="The call that this is a further attempt of.", null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="first_byte_ms",
            field=models.PositiveBigIntegerField(blank=True, help_text="Until the answer began.", null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="is_stream",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="labels",
            field=models.JSONField(blank=True, default=dict, help_text="What the caller sorts its calls by."),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="member_id",
            field=models.BigIntegerField(blank=True, help_text="The user whose token that was then.", null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="rule_version",
            field=models.PositiveIntegerField(blank=True, help_text="Of the routing rule that it went by.", null=True),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="token_id",
            field=models.BigIntegerField(blank=True, help_text="The API token that it came by.", null=True),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="status",
            field=models.CharField(
                choices=[
                    ("answered", "Answered"),
                    ("failed", "Failed"),
                    ("lost", "Lost"),
                    ("cut_off", "Cut off"),
                    ("cancelled", "Cancelled"),
                    ("broke", "Broke"),
                    ("corrected", "Cost corrected"),
                ],
                max_length=10,
            ),
        ),
        protect("usage_usageevent"),
    ]
