from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

SUPERSEDED = """
UPDATE candidates_candidatecheck SET is_latest = false WHERE organization_id = %s AND id IN (
  SELECT id FROM (
    SELECT id, row_number() OVER (
      PARTITION BY briefing_id, candidate_id
      ORDER BY CASE WHEN status = 'failed' THEN 1 ELSE 0 END, accepted_at DESC, id DESC
    ) AS place
    FROM candidates_candidatecheck WHERE organization_id = %s
  ) AS of_each WHERE place > 1
)
"""


def mark_the_superseded(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """One organization at a time; of each person and briefing all but the check that counts."""
    alias = schema_editor.connection.alias
    organizations = apps.get_model("organizations", "Organization").objects.using(alias).order_by("pk")
    with schema_editor.connection.cursor() as cursor:
        for pk in list(organizations.values_list("pk", flat=True)):
            cursor.execute(SUPERSEDED, [pk, pk])


class Migration(migrations.Migration):
    dependencies = [("candidates", "0009_check_ranks"), ("organizations", "0010_done_requests")]

    operations = [
        migrations.RunPython(mark_the_superseded, migrations.RunPython.noop),
        migrations.AddConstraint(
            "candidatecheck",
            models.UniqueConstraint(
                fields=["organization", "briefing", "candidate"],
                condition=models.Q(is_latest=True),
                name="one_latest_check_a_candidate_and_briefing",
            ),
        ),
    ]
