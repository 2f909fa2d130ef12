"""A manifest that was changed, cut off or made by hand is refused with a sentence, whatever stands in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.backups.manifest import BackupFailed, Contents, Manifest

MANIFEST = Manifest(
    format=1,
    made_at="2026-11-21T12:00:00+00:00",
    database="sqlite",
    server_version="3.45.1",
    file="database.sqlite3",
    sha256="0" * 64,
    left_out=["django_cache"],
    contents=Contents(["config.0001_initial"], {"auth_group": 1}, [[1, 2, 3, 4]], [[1, 2, "hash"]]),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    MANIFEST.write(tmp_path)
    return tmp_path / "manifest.json"


def test_what_was_written_is_read(path):
    assert Manifest.read(path.parent) == MANIFEST


OTHERS: tuple[object, ...] = (
    None,
    5,
    [1],
    [[]],
    [[[1]]],
    [["x", 1, ""], [1, 1, ""]],
    {"x": "y"},
    {"x": -1},
    {"x": True},
    True,
)


@pytest.mark.parametrize("value", OTHERS, ids=repr)
@pytest.mark.parametrize("name", ["migrations", "counts", "ledger_heads", "audit_heads"])
def test_contents_of_another_shape_are_refused(path, name, value):
    manifest = json.loads(path.read_text())
    manifest["contents"][name] = value
    path.write_text(json.dumps(manifest))

    with pytest.raises(BackupFailed, match=r"is not as `manage.py backup` wrote it"):
        Manifest.read(path.parent)


@pytest.mark.parametrize("value", [*OTHERS, "../elsewhere", "/etc/passwd", "", ".", "..", "a\0b"], ids=repr)
def test_it_names_a_file_beside_it(path, value):
    manifest = json.loads(path.read_text())
    manifest["file"] = value
    path.write_text(json.dumps(manifest))

    with pytest.raises(BackupFailed, match=r"is not as `manage.py backup` wrote it"):
        Manifest.read(path.parent)


@pytest.mark.parametrize("name", ["made_at", "database", "server_version", "sha256", "contents"])
def test_other_values_are_of_their_kind(path, name):
    manifest = json.loads(path.read_text())
    manifest[name] = [1]
    path.write_text(json.dumps(manifest))

    with pytest.raises(BackupFailed, match=r"is not as `manage.py backup` wrote it"):
        Manifest.read(path.parent)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"[]", b"[" * 100_000, b'{"format": 1', b"9" * 10_000], ids=len)
def test_what_is_no_manifest_at_all_is_refused(path, text):
    path.write_bytes(text)

    with pytest.raises(BackupFailed, match=r"is not as `manage.py backup` wrote it"):
        Manifest.read(path.parent)
