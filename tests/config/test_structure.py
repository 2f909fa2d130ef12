"""What a newcomer may rely on when they look around the tree."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)
LONGEST_FILE = 400  # lines: what grows past that holds two ideas
ROOMS = sorted(path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")


def test_no_file_of_the_product_outgrows_what_can_be_read_at_once():
    long = {
        file.relative_to(ROOT).as_posix(): lines
        for room in ROOMS
        for file in room.rglob("*.py")
        if "migrations" not in file.parts
        if (lines := len(file.read_text().splitlines())) > LONGEST_FILE
    }

    assert len(ROOMS) >= 9
    assert long == {}
