"""What holds secrets or everything is readable by its owner only, whatever the umask was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from django.db import connection

from config import private_files
from tests.config.test_init import init

WIDE = 0o022


@pytest.fixture(autouse=True)
def wide_umask():
    before = os.umask(WIDE)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def var(tmp_path, settings) -> Path:
    settings.BASE_DIR, settings.ENV_FILE = tmp_path, tmp_path / "var" / "keyfare.env"
    return tmp_path / "var"


def test_init_makes_its_folder_and_files_private(tmp_path):
    env_file = tmp_path / "a" / "var" / "keyfare.env"

    process = init(env_file, "--email", "owner@acme.example", "--organization", "Acme")

    assert process.returncode == 0, process.stderr
    assert {mode(env_file.parent), mode(env_file.parent.parent)} == {0o700}
    files = sorted(env_file.parent.iterdir())
    assert {path.name for path in files} >= {"keyfare.env", "keyfare.sqlite3"}
    assert {mode(path) for path in files} == {0o600}


def test_an_older_var_is_mended_and_what_it_points_to_is_left_alone(var, tmp_path):
    (var / "demo").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    outside.chmod(0o644)
    (var / "link").symlink_to(outside)
    names = [
        "keyfare.env",
        "keyfare.sqlite3",
        "keyfare.sqlite3-wal",
        "keyfare.sqlite3-shm",
        "web.log",
        "demo/keyfare.env",
    ]
    for name in names:
        (var / name).write_text("secret")
        (var / name).chmod(0o664)
    (var / "tool").write_text("#!/bin/sh")
    (var / "tool").chmod(0o755)

    private_files.keep_private()

    assert {mode(var), mode(var / "demo"), mode(var / "tool")} == {0o700}
    assert {mode(var / name) for name in names} == {0o600}
    assert mode(outside) == 0o644


def test_elsewhere_modes_are_said_and_not_changed(var, tmp_path, settings, caplog):
    settings.ENV_FILE = tmp_path / "etc" / "keyfare.env"
    settings.ENV_FILE.parent.mkdir(mode=0o755)
    settings.ENV_FILE.write_text("secret")
    settings.ENV_FILE.chmod(0o640)

    private_files.keep_private()

    assert f"chmod 600 {settings.ENV_FILE}" in caplog.text
    assert mode(settings.ENV_FILE) == 0o640
    assert mode(settings.ENV_FILE.parent) == 0o755


def test_what_cannot_be_mended_is_said(var, monkeypatch, caplog):
    var.mkdir()
    var.chmod(0o755)

    def refuse(self: Path, mode: int) -> None:
        raise PermissionError("somebody else's")

    monkeypatch.setattr(Path, "chmod", refuse)
    private_files.keep_private()

    assert f"{var} can be read by others" in caplog.text


def test_nothing_is_said_where_nothing_is_there(var, caplog):
    private_files.keep_private()

    assert caplog.text == ""
    assert not var.exists()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about the files of SQLite")
def test_the_database_is_private_before_anything_is_in_it(tmp_path, monkeypatch):
    path = tmp_path / "keyfare.sqlite3"
    monkeypatch.setattr(private_files, "database_file", lambda: path)

    private_files.make_database_file()
    private_files.make_database_file()

    assert mode(path) == 0o600
    assert path.read_bytes() == b""
