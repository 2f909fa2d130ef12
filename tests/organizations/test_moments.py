from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.conf import settings
from django.template import Context, Template

from organizations.templatetags.moments import day, moment

AS_DJANGO = "<time datetime=\"{{ at|date:'c' }}\" title=\"{{ at|date:'Y-m-d H:i:s' }} UTC\">{{ at|date:'%s' }}</time>"


@pytest.mark.parametrize(
    "at",
    [
        *(datetime(2026, month, 9, 8, 7, 6, tzinfo=UTC) for month in range(1, 13)),
        datetime(2026, 11, 28, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_a_moment_reads_as_djangos_filters_write_it(at):
    assert moment(at) == Template(AS_DJANGO % "j M Y, H:i").render(Context({"at": at}))
    assert day(at) == Template(AS_DJANGO % "j M Y").render(Context({"at": at}))


def test_no_template_spells_a_moment_itself():
    templates = (settings.BASE_DIR / "templates").rglob("*.html")

    assert [template.name for template in templates if "<time" in template.read_text()] == []
