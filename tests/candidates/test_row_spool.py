from __future__ import annotations

import json
from tempfile import TemporaryFile

from candidates.profiles import row_spool
from candidates.profiles.files import RowError, parse_file
from candidates.profiles.row_spool import RowSpool


def test_rows_come_back_as_they_were_also_to_two_who_go_through_them_at_once(monkeypatch):
    monkeypatch.setattr(row_spool, "READ_AT_ONCE", 100)
    lines = [*(json.dumps({"basics": {"name": f"A\tn\nn \u2028 \u674e {number}"}}) for number in range(50)), "{}"]
    rows = parse_file("\n".join(lines).encode(), file="some\tfile\n.jsonl")

    with TemporaryFile() as file:
        spool = RowSpool(file)
        for row in rows:
            spool.add(row)
        pairs = [(row, next(iter(spool))) for row in spool]

        assert list(spool) == rows
        assert pairs == [(row, rows[0]) for row in rows]
    assert isinstance(rows[-1], RowError)
    assert spool.profiles == 50
