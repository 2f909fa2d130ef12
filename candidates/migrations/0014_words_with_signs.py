from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Q

from candidates.search import store_words, words_of

BATCH = 2000


def note_words_with_signs(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Of those who were noted before “C++” and “C#” were words."""
    alias = schema_editor.connection.alias
    words = apps.get_model("candidates", "CandidateWord").objects.using(alias)
    named = Q()
    for field in ("name", "headline", "email"):
        named |= Q(**{f"{field}__contains": "+"}) | Q(**{f"{field}__contains": "#"})
    people = apps.get_model("candidates", "Candidate").objects.using(alias).filter(named).order_by("pk")
    last = 0
    while batch := list(people.filter(pk__gt=last)[:BATCH]):
        last = batch[-1].pk
        words.filter(candidate__in=[each.pk for each in batch]).delete()
        store_words(
            (each.organization_id, each.pk, word)
            for each in batch
            for word in words_of(f"{each.name} {each.headline} {each.email}")
        )


class Migration(migrations.Migration):
    dependencies = [("candidates", "0013_check_indexes")]

    operations = [migrations.RunPython(note_words_with_signs, migrations.RunPython.noop, elidable=True)]
