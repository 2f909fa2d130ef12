"""A canary key through everything that may happen to a key; afterwards nothing anywhere holds any of it."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

SLICE = 12
pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="brings its own SQLite database")


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


@pytest.mark.parametrize("debug", ["0", "1"])
def test_no_trace_of_a_key_is_left_anywhere_after_all_that_can_happen_to_it(tmp_path, simulator, debug):
    secret = secrets.token_hex(20)
    origins = ",".join(f"{name}={url}" for name, url in simulator.origins.items())
    with (tmp_path / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.security.canary_story", str(tmp_path)],
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "DEBUG": debug,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": f"sqlite:///{tmp_path}/keyfare.sqlite3",
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
    assert "The house is on fire." in log
    assert "DEBUG" in log
