"""The layers put together, with what Keyfare allows. Another door (/v1/) goes before them, in `config/asgi.py`."""

from __future__ import annotations

import re
from functools import partial

from django.conf import settings

from candidates.profiles.files import MAX_FILE_BYTES
from config.web.bodies import Bodies, Limit
from config.web.handler import OneThreadHandler
from config.web.pages import render
from config.web.refusals import Application
from config.web.rooms import Rooms

MB = 1024**2
# Files of which millions of rows may be read at a reader's pace: few at once, and they keep no page waiting.
EXPORTS = 2
PATIENCE_WITH_EXPORTS_SECONDS = 3600.0
# Of a pool's connections, those that no page takes: for the signs of life, for what runs beside requests, for exports,
# and three for the gateway: its writer, and two who read who calls.
KEPT_CONNECTIONS = 5 + EXPORTS
ROOMS_WITHOUT_POOL = 14
WAIT_FOR_ROOM_SECONDS = 5.0
MOST_HELD_BYTES = 256 * MB

EXPORT = re.compile(r"/o/[^/]+/consumption/export/file/|/api/v1/exports/.*")
IMPORT = re.compile(r"/o/[^/]+/candidates/import/")
IMPORTED = Limit(
    bytes=MAX_FILE_BYTES + MB,  # the form around the file
    seconds=600,
    sentence=f"A file of profiles may have {MAX_FILE_BYTES // MB} MB. Split it and import the parts.",
)
PROGRAMS = Limit(
    bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
    seconds=120,
    sentence=f"The body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // MB} MB.",
)
FORMS = Limit(bytes=2 * MB, seconds=120, sentence="A form may hold 2 MB. Send less at once.")
# Where nobody has to be logged in.
ACCOUNTS = Limit(bytes=MB // 4, seconds=60, sentence="A form may hold 256 KB here. Send less at once.")


def limit_of(path: str) -> Limit:
    if IMPORT.fullmatch(path):
        return IMPORTED
    if path.startswith("/api/"):
        return PROGRAMS
    return ACCOUNTS if path.startswith(("/accounts/", "/invitations/")) else FORMS


def kind_of(path: str, *, static: str) -> str:
    if path in ("/healthz", "/readyz"):
        return path
    if EXPORT.fullmatch(path):
        return "export"
    return "static" if path.startswith(static) else "page"


def application(*, connections: int) -> Application:
    """What a web server serves; `connections` is the size of its pool, 0 without one."""
    pages = max(1, connections - KEPT_CONNECTIONS) if connections else ROOMS_WITHOUT_POOL
    inside = Rooms(
        OneThreadHandler(),
        # Files need no database; /readyz looks once for all who ask (config/health.py).
        sizes={"page": pages, "export": EXPORTS, "static": 32, "/healthz": 2, "/readyz": 4},
        kind_of=partial(kind_of, static=settings.STATIC_URL),
        wait_seconds=WAIT_FOR_ROOM_SECONDS,
        render=render,
        patience={"export": PATIENCE_WITH_EXPORTS_SECONDS},
    )
    return Bodies(inside, limit_of=limit_of, render=render, most_held_bytes=MOST_HELD_BYTES)
