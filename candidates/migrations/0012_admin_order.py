from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("candidates", "0011_words_of_people")]

    operations = [
        migrations.AddIndex("candidatecheck", models.Index(fields=["-accepted_at", "-id"], name="check_of_everybody")),
        migrations.AddIndex(
            "candidatecheck",
            models.Index(
                fields=["organization", "-completed_at", "id"],
                condition=models.Q(status="completed", charged=0),
                name="check_free",
            ),
        ),
    ]
