from __future__ import annotations

import pytest

from organizations.storable import storable


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\x00b", "ab"),
        ("\ud83d and \ude00", "\ufffd and \ufffd"),
        ("\ud83d\ude00", "\ufffd\ufffd"),
        ("Zoë \U0001f600\n\t\u200b", "Zoë \U0001f600\n\t\u200b"),
    ],
)
def test_what_no_database_takes_goes_and_everything_else_stays(text, kept):
    assert storable(text) == kept
    assert storable(kept) == kept
    kept.encode()
