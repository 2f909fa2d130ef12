from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0010_done_requests")]

    operations = [
        migrations.AddIndex("auditevent", models.Index(fields=["-created_at", "-id"], name="audit_of_everybody")),
    ]
