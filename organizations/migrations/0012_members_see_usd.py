from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0011_found_by_index")]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="members_see_usd",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="Else USD are shown to owners and admins alone; members see tokens, calls and runs.",
            ),
        ),
    ]
