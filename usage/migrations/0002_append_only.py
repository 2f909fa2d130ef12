from __future__ import annotations

from django.db import migrations

from organizations.append_only import protect


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_initial")]

    operations = [protect("usage_usageevent")]
