from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("candidates", "0005_claims_without_evidence"),
    ]

    operations = [
        migrations.AddField(
            model_name="candidatecheck",
            name="failed_after_answer",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="A Managed check that failed although its calls were paid for.",
            ),
        ),
        migrations.AddIndex(
            model_name="candidatecheck",
            index=models.Index(
                condition=models.Q(("failed_after_answer", True)),
                fields=["organization", "completed_at"],
                name="check_failed_after_answer",
            ),
        ),
    ]
