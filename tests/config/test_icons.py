"""Icons are one path each, where the package draws several, and look the same."""

from __future__ import annotations

import pytest

from config.templatetags.icons import joined, lucide


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        (["M5 12h14", "M12 5v14"], "M5 12h14M12 5v14"),
        (["M21 12H9", "m16 17 5-5-5-5"], "M21 12H9M16 17l5-5-5-5"),  # further numbers after "m" are relative lines
        (["m.5-7.5 2.3 2.3a1 1 0 0 0 1 0", "m3 7v.5"], "M.5 -7.5l2.3 2.3a1 1 0 0 0 1 0M3 7v.5"),
        (["m6.1,14.7.8-.5 2 3", "m1 2"], "M6.1 14.7l.8-.5 2 3M1 2"),
    ],
)
def test_lines_are_joined_where_they_were(lines: list[str], path: str) -> None:
    assert joined(lines) == path


@pytest.mark.parametrize("name", ["sun", "coins", "list-checks", "clipboard-list", "triangle-alert"])
def test_an_icon_has_one_path(name: str) -> None:
    drawn = lucide(name, size=16)

    assert drawn.count("<path") == 1
    assert drawn.startswith('<svg width="16"')
    assert drawn.endswith("</svg>")
