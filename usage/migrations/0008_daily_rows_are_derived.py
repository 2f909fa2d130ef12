from __future__ import annotations

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "usage_usagedaily"
CONSTRAINT = "usage_usagedaily_organization_id_fk"


def drop_constraint(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """On SQLite, where it costs nothing, the table would have to be made anew."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        found = schema_editor.connection.introspection.get_constraints(cursor, TABLE)
    for name, constraint in found.items():
        if constraint["foreign_key"]:
            schema_editor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT {name}")


def add_constraint(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            f"ALTER TABLE {TABLE} ADD CONSTRAINT {CONSTRAINT} FOREIGN KEY (organization_id) "
            "REFERENCES organizations_organization (id) DEFERRABLE INITIALLY DEFERRED"
        )


class Migration(migrations.Migration):
    dependencies = [("usage", "0007_which_calls_are_found_by_index")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(drop_constraint, add_constraint)],
            [
                migrations.AlterField(
                    "usagedaily",
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                )
            ],
        ),
    ]
