from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.template import Context, Template

from organizations.templatetags.moments import moment

AS_DJANGO = Template(
    "<time datetime=\"{{ at|date:'c' }}\" title=\"{{ at|date:'Y-m-d H:i:s' }} UTC\">{{ at|date:'j M Y, H:i' }}</time>"
)


@pytest.mark.parametrize(
    "at",
    [
        *(datetime(2026, month, 9, 8, 7, 6, tzinfo=UTC) for month in range(1, 13)),
        datetime(2026, 11, 28, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_a_moment_reads_as_djangos_filters_write_it(at):
    assert moment(at) == AS_DJANGO.render(Context({"at": at}))
