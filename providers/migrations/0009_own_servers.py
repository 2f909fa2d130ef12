from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0008_one_queued_validation_of_an_organizations_key")]

    operations = [
        migrations.AddField(
            "providerkey",
            "is_own_server",
            models.BooleanField(
                default=False,
                editable=False,
                help_text="The owner says that the server behind the base URL is their own: its tokens cost nothing.",
            ),
        ),
    ]
