from __future__ import annotations

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from candidates.search import store_words, words_of
from organizations.tenancy import wall_in

BATCH = 2000


def note_words_of_everybody(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    alias = schema_editor.connection.alias
    people = apps.get_model("candidates", "Candidate").objects.using(alias).order_by("pk")
    last = 0
    while batch := list(people.filter(pk__gt=last)[:BATCH]):
        last = batch[-1].pk
        store_words(
            (each.organization_id, each.pk, word)
            for each in batch
            for word in words_of(f"{each.name} {each.headline} {each.email}")
        )


class Migration(migrations.Migration):
    dependencies = [("candidates", "0010_latest_checks"), ("organizations", "0010_done_requests")]

    operations = [
        migrations.CreateModel(
            name="CandidateWord",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("word", models.BinaryField(help_text="Folded, as UTF-8.", max_length=60)),
                (
                    "candidate",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="candidates.candidate",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
            ],
        ),
        migrations.RunPython(note_words_of_everybody, migrations.RunPython.noop),
        migrations.AddIndex(
            "candidateword", models.Index(fields=["organization", "word", "candidate"], name="candidate_by_word")
        ),
        wall_in("candidates_candidateword"),
    ]
