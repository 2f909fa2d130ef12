"""One function decides which USD an organization sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings as project

from usage.audience import sees_usd
from usage.models import Mode

ROOT = Path(project.BASE_DIR)
SETTING = "KEYFARE_SHOW_MANAGED_USD"


@pytest.mark.parametrize("installation", [False, True])
def test_own_usd_are_always_seen_and_managed_where_the_installation_shows_them(settings, installation):
    setattr(settings, SETTING, installation)

    assert sees_usd(Mode.BYOK)
    assert sees_usd(Mode.MANAGED) is installation
    assert not sees_usd(Mode.MANAGED, show_managed_usd=False)
    assert sees_usd(Mode.MANAGED, show_managed_usd=True)


def test_nothing_else_reads_the_setting():
    readers = {
        file.relative_to(ROOT).as_posix()
        for room in ROOT.glob("*/__init__.py")
        if room.parent.name not in ("tests", "benchmarks")
        for file in room.parent.rglob("*.py")
        if SETTING in file.read_text()
    }

    assert readers == {"config/settings.py", "usage/audience.py"}
