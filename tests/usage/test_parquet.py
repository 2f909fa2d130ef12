from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, date, datetime

import pytest

from tests.serving_role import as_owner
from tests.usage.conftest import NOON, event, roll_up, settle
from usage import parquet, pruning
from usage.exports.sealing import seal_due_months
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

AUGUST = date(2026, 8, 1)
JULY, MAY = datetime(2026, 7, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2026, 5, 3, 7, tzinfo=UTC)


def prune(folder) -> pruning.Pruned:
    settle()
    with as_owner():
        seal_due_months(now=NOON, others={})
        return pruning.prune_usage(before=AUGUST, folder=folder)


def test_what_leaves_stands_in_a_file_a_month_to_the_last_nano_dollar(acme, tmp_path, monkeypatch):
    read = pytest.importorskip("pyarrow.parquet").read_table
    monkeypatch.setattr(parquet, "ROWS_AT_ONCE", 2)
    many = {"cost_nanousd": 10**17 + 1, "uncached_input_tokens": 10**12, "output_tokens": 2}
    ids = [uuid.uuid4() for _ in range(3)]
    for call_id in ids:
        event(acme, occurred_at=JULY, call_id=call_id, labels={"team": "Zürich", "a": "b"}, **many)
    event(acme, occurred_at=MAY, cost_nanousd=None, run_day=date(2026, 5, 2))
    stays = event(acme, occurred_at=NOON)
    roll_up(now=NOON)

    files = prune(tmp_path / "kept").files

    assert [(file.path.name, file.rows) for file in files] == [
        ("calls-2026-05.parquet", 1),
        ("calls-2026-07.parquet", 3),
    ]
    assert [file.sha256 for file in files] == [hashlib.sha256(file.path.read_bytes()).hexdigest() for file in files]
    assert {file.path.stat().st_mode & 0o777 for file in files} == {0o600}
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {file.path.name for file in files}
    may, july = (read(file.path) for file in files)
    assert july.column_names[0] == "organization_id"
    assert set(july.column_names) == {field.attname for field in UsageEvent._meta.concrete_fields}
    kinds = {name: str(july.schema.field(name).type) for name in ("cost_nanousd", "output_tokens", "occurred_at")}
    assert kinds == {"cost_nanousd": "int64", "output_tokens": "int64", "occurred_at": "timestamp[us, tz=UTC]"}
    rows = july.to_pylist()
    assert [row["call_id"] for row in rows] == list(map(str, ids))
    assert {(row["cost_nanousd"], row["occurred_at"], row["labels"]) for row in rows} == {
        (10**17 + 1, JULY, '{"a": "b", "team": "Zürich"}')
    }
    (row,) = may.to_pylist()
    assert (row["cost_nanousd"], row["run_day"], row["occurred_at"]) == (None, date(2026, 5, 2), MAY)
    assert list(UsageEvent.objects.all()) == [stays]


def test_a_file_that_is_there_is_not_written_over(acme, globex, tmp_path):
    pytest.importorskip("pyarrow")
    for organization, name in ((acme, "calls-2026-07.parquet"), (globex, "calls-2026-07-2.parquet")):
        event(organization, occurred_at=JULY)
        roll_up(now=NOON)
        assert [file.path.name for file in prune(tmp_path).files] == [name]


def test_nothing_leaves_that_could_not_be_written(acme, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "file").write_text("no folder")
    event(acme, occurred_at=JULY)
    roll_up(now=NOON)

    with pytest.raises(parquet.ParquetFailed, match="file: "):
        prune(tmp_path / "file")

    assert UsageEvent.objects.exists()


def test_without_pyarrow_nothing_leaves_and_a_sentence_says_so(acme, tmp_path, monkeypatch):
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(parquet, "import_module", missing)
    event(acme, occurred_at=JULY)
    roll_up(now=NOON)

    with pytest.raises(parquet.ParquetFailed, match="Parquet needs `pyarrow`"):
        prune(tmp_path)

    assert UsageEvent.objects.exists()
