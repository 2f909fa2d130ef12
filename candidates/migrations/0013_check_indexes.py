from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("candidates", "0012_admin_order")]

    operations = [
        migrations.RemoveIndex("candidatecheck", "check_by_briefing"),
        migrations.RemoveIndex("candidatecheck", "check_by_candidate"),
        migrations.AddIndex(
            "candidatecheck",
            models.Index(fields=["organization", "briefing", "status", "accepted_at"], name="check_by_briefing"),
        ),
        migrations.AddIndex(
            "candidatecheck",
            models.Index(fields=["organization", "candidate", "-accepted_at", "id"], name="check_by_candidate"),
        ),
        migrations.AddIndex("candidatecheck", models.Index(fields=["organization", "run_id"], name="check_by_run")),
    ]
