"""
`/healthz` and `/readyz`, for load balancers and monitors, which call by address and without a login.

`/healthz` says that this process answers, and asks nothing else. `/readyz` says in words what keeps the installation
from its work: nothing of what it says is a secret, and asking it often costs nothing, since an answer serves for a
while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

from config import startup
from config.schema_state import missing_migrations
from config.worker import heartbeat
from config.worker.alarm import stop_of_work

PATHS = ("/healthz", "/readyz")
SERVES_FOR_SECONDS = 2.0
KEYS_SERVE_FOR_SECONDS = 60.0
PATIENCE_SECONDS = 3.0
NO_ANSWER = {"database": "does not answer"}

logger = logging.getLogger(__name__)
State = dict[str, str]  # what was looked at → "ok", or what is wrong


class HealthChecks:
    """The middleware that answers both. First of all, so that no host name is asked for and nothing redirects."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.readiness = Readiness()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info not in PATHS:
            return self.get_response(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        state = {} if request.path_info == "/healthz" else self.readiness.state()
        is_well = all(found == "ok" for found in state.values())
        lines = ["ok" if is_well else "not ready", *(f"{what}: {found}" for what, found in state.items())]
        return HttpResponse(
            "".join(f"{line}\n" for line in lines),
            status=200 if is_well else 503,
            content_type="text/plain; charset=utf-8",
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        )


class Readiness:
    """Looks in a thread, one at a time and at most so often; a database that hangs makes nobody wait for long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._look = _Look()
        self._look.state = {}
        self._look.done.set()
        self._keys = ("", float("-inf"))

    def state(self) -> State:
        now = time.monotonic()
        with self._lock:
            if self._look.done.is_set() and now - self._look.started_at > SERVES_FOR_SECONDS:
                self._look = _Look(now)
                threading.Thread(target=self._run, args=[self._look], name="readyz", daemon=True).start()
            look = self._look
        return look.state if look.done.wait(look.started_at + PATIENCE_SECONDS - now) else NO_ANSWER

    def _run(self, look: _Look) -> None:
        try:
            look.state = self._find()
        except DatabaseError as error:
            logger.warning("Not ready: %s", error)
        except Exception:
            logger.exception("It is not known whether this installation is ready")
            look.state = {"installation": "could not be looked at"}
        finally:
            connection.close()
            look.done.set()

    def _find(self) -> State:
        connection.ensure_connection()
        if missing_migrations():
            return {"database": "ok", "migrations": "missing"}
        found, at = self._keys
        if not found or time.monotonic() - at > KEYS_SERVE_FOR_SECONDS:
            found = "do not fit this installation" if startup.problems() else "ok"
            self._keys = found, time.monotonic()
        return {
            "database": "ok",
            "migrations": "ok",
            "keys": found,
            "worker": "no sign of life" if stop_of_work() else "ok",
            "work": "waits too long" if heartbeat.waits_too_long() else "ok",
        }


class _Look:
    def __init__(self, started_at: float = float("-inf")) -> None:
        self.started_at = started_at
        self.done = threading.Event()
        self.state = NO_ANSWER
