from __future__ import annotations

from django.db import migrations, models
from django.db.models import Case, Value, When
from django.db.models.functions import Coalesce


def numbered(field: str, values: tuple[str, ...]) -> Case:
    return Case(
        *(When(**{field: value}, then=Value(number)) for number, value in enumerate(values)),
        default=Value(len(values)),
        output_field=models.SmallIntegerField(),
    )


class Migration(migrations.Migration):
    """The generated column rewrites the table: some seconds a million checks."""

    dependencies = [("candidates", "0008_archived_briefings")]

    operations = [
        migrations.AddField(
            "candidatecheck",
            "is_latest",
            models.BooleanField(
                default=True,
                editable=False,
                help_text="The one of this person and briefing that counts: the latest that did not fail, else the "
                "latest.",
            ),
        ),
        migrations.AddField(
            "candidatecheck",
            "rank",
            models.GeneratedField(
                db_persist=True,
                expression=numbered("status", ("completed", "in_progress", "pending", "failed")) * 1000
                + numbered("category", ("strong", "possible", "none")) * 200
                + 100
                - Coalesce("score", 0),
                help_text="The place among the results of the briefing, best fit first.",
                output_field=models.SmallIntegerField(),
            ),
        ),
        migrations.RemoveIndex("candidatecheck", "check_by_organization"),
        migrations.AddIndex(
            "candidatecheck", models.Index(fields=["organization", "-accepted_at", "id"], name="check_by_moment")
        ),
        migrations.AddIndex(
            "candidatecheck",
            models.Index(fields=["organization", "briefing", "accepted_at"], name="check_by_briefing"),
        ),
        migrations.AddIndex(
            "candidatecheck",
            models.Index(fields=["organization", "candidate", "-accepted_at"], name="check_by_candidate"),
        ),
        migrations.AddIndex(
            "candidatecheck",
            models.Index(
                fields=["organization", "briefing", "rank", "-candidate"],
                condition=models.Q(is_latest=True),
                name="check_results",
            ),
        ),
    ]
