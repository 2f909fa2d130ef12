from __future__ import annotations

from django.db import migrations, models

from gateway.change_triggers import tell_of_changes


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("organizations", "0011_found_by_index"),
        ("providers", "0014_reasons_as_text"),
        ("routing", "0002_agents"),
    ]

    operations = [
        migrations.CreateModel(
            name="Change",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("mark", models.BigIntegerField()),
            ],
        ),
        tell_of_changes(),
    ]
