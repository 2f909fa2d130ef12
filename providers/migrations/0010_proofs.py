from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def ask_for_proof(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """A list of models lifted "No credit" before; what has none now is lifted by an answered call."""
    keys = apps.get_model("providers", "ProviderKey").objects.using(schema_editor.connection.alias)
    keys.filter(status="no_credit").update(must_prove_by_call=True)


class Migration(migrations.Migration):
    dependencies = [("providers", "0009_own_servers")]

    operations = [
        migrations.AddField(
            "providerkey",
            "proof_model",
            models.CharField(
                blank=True,
                default="",
                editable=False,
                help_text="The model that a person typed to prove the key with, where its server lists none.",
                max_length=200,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "providerkey",
            "must_prove_by_call",
            models.BooleanField(
                default=False,
                editable=False,
                help_text="A call was refused for the key itself: only an answered call shows that it works again.",
            ),
        ),
        migrations.RunPython(ask_for_proof, migrations.RunPython.noop),
    ]
