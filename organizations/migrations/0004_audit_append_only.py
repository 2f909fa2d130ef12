from __future__ import annotations

from django.db import migrations, models

from organizations.append_only import protect


class Migration(migrations.Migration):
    dependencies = [("organizations", "0003_chain_audit_events")]

    operations = [
        migrations.AlterField(
            model_name="auditevent",
            name="seq",
            field=models.PositiveBigIntegerField(help_text="Counts the organization's events from 1, without a gap."),
        ),
        migrations.AddConstraint(
            model_name="auditevent",
            constraint=models.UniqueConstraint(fields=["organization", "seq"], name="audit_seq_unique"),
        ),
        protect("organizations_auditevent"),
    ]
