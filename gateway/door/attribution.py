"""
To which run a call belongs, and what its caller sorts it by: from headers that known clients send anyway.

Headers decide no rights: the token says who calls, and a run is one of that token's. Sources: what the clients send,
captured 2026-11 (Claude Code 2.1, Codex 0.171, opencode 1.18, Open WebUI); W3C Trace Context, 3.2.
"""

from __future__ import annotations

import re
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from datetime import date

RUN_HEADER = "x-keyfare-run"
LABEL_PREFIX = "x-keyfare-label-"
LONGEST = 200
# The first of these that is there names the run; of some clients two together do.
_NAMED_BY: tuple[tuple[str, ...], ...] = (
    (RUN_HEADER,),
    ("x-claude-code-session-id", "x-claude-code-agent-id"),
    ("session-id", "thread-id"),
    ("session_id", "thread_id"),
    ("x-session-id",),
    ("x-opencode-session-id",),
    ("x-openwebui-chat-id",),
)
_RUN_HEADERS = frozenset(name for names in _NAMED_BY for name in names)
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_RUNS = uuid.UUID("8d0b6f0e-9f52-4b7e-8b1e-2f1f0a4c6d11")
MOST_RUNS_KNOWN = 20_000

MOST_LABELS_A_CALL = 5
MOST_NAMES_A_DAY = 20
MOST_VALUES_A_DAY = 200  # of one name
OTHER = "(other)"
_LABEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
LONGEST_LABEL = 80


def run_of(token_id: int, headers: Mapping[str, str]) -> uuid.UUID | None:
    """The run that a call belongs to, None where nothing names one: the call is a run of its own."""
    for names in () if _RUN_HEADERS.isdisjoint(headers) else _NAMED_BY:
        if given := [headers[name].strip()[:LONGEST] for name in names if headers.get(name, "").strip()]:
            return _run(token_id, "/".join(given))
    trace = _TRACE.fullmatch(headers.get("traceparent", "").strip())
    return _run(token_id, trace[1]) if trace and set(trace[1]) != {"0"} else None


def _run(token_id: int, text: str) -> uuid.UUID:
    return uuid.uuid5(_RUNS, f"{token_id}/{text}")


class Iterations:
    """How many calls each of the latest runs made, as this process saw them."""

    def __init__(self, most: int = MOST_RUNS_KNOWN) -> None:
        self._most = most
        self._counts: OrderedDict[uuid.UUID, int] = OrderedDict()

    def next(self, run: uuid.UUID) -> int:
        count = min(self._counts.pop(run, 0) + 1, 32_767)
        self._counts[run] = count
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)
        return count


class Labels:
    """
    What callers sort their calls by, within bounds: a table by label stays readable, whatever is sent. What is over
    them on one UTC day of an organization counts as “(other)”, in each process by itself.
    """

    def __init__(self) -> None:
        self._day = date.min
        self._seen: dict[int, dict[str, set[str]]] = {}  # organization → name → values

    def of(self, organization_id: int, headers: Mapping[str, str], today: date) -> dict[str, str]:
        given = [
            (name.removeprefix(LABEL_PREFIX), value) for name, value in headers.items() if name.startswith(LABEL_PREFIX)
        ]
        if not given:
            return {}
        if today != self._day:
            self._day, self._seen = today, {}
        seen = self._seen.setdefault(organization_id, {})
        labels: dict[str, str] = {}
        for name, value in given:
            value = " ".join(value.split())[:LONGEST_LABEL]
            if len(labels) == MOST_LABELS_A_CALL or not value or not _LABEL_NAME.fullmatch(name):
                continue
            if name not in seen and len(seen) >= MOST_NAMES_A_DAY:
                labels[OTHER] = OTHER
                continue
            values = seen.setdefault(name, set())
            if value not in values and len(values) >= MOST_VALUES_A_DAY:
                value = OTHER
            else:
                values.add(value)
            labels[name] = value
        return labels
