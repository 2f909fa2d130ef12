from __future__ import annotations

from django.db import migrations

from organizations.tenancy import wall_in


class Migration(migrations.Migration):
    """On every tenant table of the apps below; a table that comes later is walled in by its own migration."""

    dependencies = [
        ("organizations", "0005_invitations"),
        ("usage", "0002_append_only"),
        ("billing", "0002_append_only"),
        ("providers", "0007_base_urls_and_private_endpoints"),
        ("routing", "0001_initial"),
        ("candidates", "0001_initial"),
    ]

    operations = [wall_in()]
