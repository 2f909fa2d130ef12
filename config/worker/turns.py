"""
Whose turn it is: which waiting task a free worker gets, so that nobody's work holds up everybody's.

    one at a time      of each kind of task every organization has one under way; its others wait behind that one
    by turns           of the organizations that wait, whoever was served longest ago comes first
    lanes              of short tasks, drafts, checks and jobs, each keeps a worker in reserve while it has none at work
    checks             one task serves the checks of everybody. It takes new ones for a while, then the next task does:
                       another worker is kept for that one, as calls of the last may hang for minutes

A provider that never answers so takes time from those who asked it, and workers from nobody. With fewer workers than
lanes there is no reserve: whatever lane has none at work may take the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from candidates.tasks import TIME_BUDGET_SECONDS
from config.own_tasks import LANES, Lane, ours


@dataclass(frozen=True, slots=True)
class Turn:
    """What of a task decides when it runs. Of tasks with the same `line` one runs at a time."""

    lane: Lane
    line: tuple[str, str]
    task: tuple[str, str]  # function and arguments: two of the same do the same


@dataclass(frozen=True, slots=True)
class Running:
    turn: Turn
    seconds: float

    @property
    def takes_new_checks(self) -> bool:
        return self.turn.lane is Lane.CHECKS and self.seconds < TIME_BUDGET_SECONDS


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The id of the task that runs next, if any may; ids of tasks that wait behind one of their own kind, and of those
    that another one does the work of.
    """

    task: int | None
    held_back: list[int]
    doubled: list[int]


@lru_cache(10_000)
def turn_of(payload: str) -> Turn | None:
    """
    By what a queued task says of itself: its function, and in `group` the organization or the job that it serves.

    None for what is no task of ours: it waits for nobody, and nothing waits for it.
    """
    package = ours(payload)
    lane = LANES.get(package["func"]) if package else None
    if package is None or lane is None:
        return None
    function, arguments = package["func"], repr(package["args"])
    of = "" if lane is Lane.CHECKS else str(package.get("group") or arguments)
    return Turn(lane, (function, of), (function, "" if lane is Lane.CHECKS else arguments))


def choose(
    waiting: Iterable[tuple[int, Turn | None]],
    running: Collection[Running],
    *,
    free: int,
    served: Mapping[tuple[str, str], float],
) -> Choice:
    """
    Choose for one of `free` workers among `waiting`, oldest first, by id; `served` says when a line was last served, in
    any unit that grows.
    """
    at_work = [each.turn for each in running if each.turn.lane is not Lane.CHECKS or each.takes_new_checks]
    lines, lanes = {turn.line for turn in at_work}, {turn.lane for turn in at_work}
    seen: set[tuple[str, str]] = set()
    held_back, doubled, open_to = [], [], []
    for task, turn in waiting:
        if turn is None:
            open_to.append((Lane.SHORT, 0.0, task))
        elif turn.task in seen:
            doubled.append(task)
        elif turn.line in lines:
            seen.add(turn.task)
            held_back.append(task)
        else:
            seen.add(turn.task)
            if turn.lane not in lanes or free > _kept_for_others(turn.lane, lanes):
                open_to.append((turn.lane, served.get(turn.line, 0.0), task))
    return Choice(min(open_to)[2] if open_to else None, held_back, doubled)


def _kept_for_others(lane: Lane, at_work: Collection[Lane]) -> int:
    """A worker for each lane with none at work, and always one for the next task of checks: the last one may drain."""
    idle = sum(other not in at_work for other in Lane if other is not lane)
    return idle + (lane is not Lane.CHECKS)
