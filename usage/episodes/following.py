"""Finding anomalies: `manage.py detect_anomalies`, every hour, after the hour that it judges is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Q

from usage.anomalies.detection import find
from usage.anomalies.floor import floor_of
from usage.anomalies.rules import dear_runs, find_by_rules, new_callers, usual_run
from usage.anomalies.series import DAY, Series, moment_of, number_of
from usage.episodes.keeping import LONGEST, QUIET, Episodes, Told
from usage.episodes.reading import (
    SeenCaller,
    Stream,
    dear_runs_of_everybody,
    hours_of_everybody,
    new_callers_of_everybody,
    usual_runs,
)
from usage.models import Anomaly
from usage.rollups import HOURS_KEPT_DAYS, roll_up

State = Anomaly.State
SETTLED = timedelta(minutes=5)  # after an hour its last calls have ended and are written, but for few


@dataclass(frozen=True, slots=True)
class Detected:
    """Of the `hour` judged: how many organizations and actions were looked at, and what became of episodes."""

    hour: str
    organizations: int
    actions: int
    opened: int
    seen: int
    over: int


def detect_anomalies(*, now: datetime) -> Detected:
    """Judge the last hour that is over, of all organizations that called within a day. Running twice finds it once."""
    roll_up(now=now)
    hour = number_of(now - SETTLED) - 1
    end = moment_of(hour + 1)
    kept = _kept(end)
    callers, runs = new_callers_of_everybody(hour), dear_runs_of_everybody(hour)
    usual = usual_runs(list(runs), hour) if runs else {}
    found: list[Episodes] = []
    organizations = actions = seen = 0
    for organization, streams in hours_of_everybody(hour):
        organizations, actions = organizations + 1, actions + len(streams)
        floor = floor_of(_usual_day(streams.values(), hour))
        episodes = Episodes(organization, kept[organization])
        told = _judged(streams, episodes, hour, floor)
        told += _judged_callers(callers.get(organization, ()), streams, hour, floor)
        told += [
            Told(seen.stream, finding)
            for seen in runs.get(organization, ())
            for finding in dear_runs(
                [seen.run],
                usual_nanousd=usual_run(usual.get((organization, seen.stream), ())),
                hour=hour,
                floor_nanousd=floor,
            )
        ]
        if told:
            episodes.follow(told, end=end, now=now)
            found.append(episodes)
            seen += len(told)
    # After reading, whose cursor stays open meanwhile.
    opened = sum(episodes.write() for episodes in found)
    return Detected(end.isoformat(), organizations, actions, opened, seen, _end(end))


def _kept(end: datetime) -> defaultdict[int, list[Anomaly]]:
    """By organization: what is open or expected, and what was seen as long ago as hours are kept."""
    rows: defaultdict[int, list[Anomaly]] = defaultdict(list)
    lately = Q(seen_at__gte=end - timedelta(days=HOURS_KEPT_DAYS))
    for anomaly in Anomaly.objects.filter(lately | Q(state__in=[State.OPEN, State.EXPECTED])).order_by("pk"):
        rows[anomaly.organization_id].append(anomaly)
    return rows


def _usual_day(streams: Iterable[Series], hour: int) -> float:
    """What a day of the last four weeks cost, all actions together."""
    started = [(series, series.began) for series in streams if series.began is not None]
    days = min(28.0, max(1.0, (hour - min((began for _, began in started), default=hour)) / DAY))
    return sum(series.total("cost_nanousd", hour - 28 * DAY, hour) for series, _ in started) / days


def _judged(streams: dict[Stream, Series], episodes: Episodes, hour: int, floor: int) -> list[Told]:
    told = []
    for stream, plain in streams.items():
        series = replace(plain, left_out=episodes.left_out(stream))
        findings = [
            *find(series, hour=hour, floor_nanousd=floor),
            *find_by_rules(series, hour=hour, floor_nanousd=floor),
        ]
        told += [Told(stream, finding) for finding in findings]
    return told


def _judged_callers(callers: Iterable[SeenCaller], streams: dict[Stream, Series], hour: int, floor: int) -> list[Told]:
    began = min((series.began for series in streams.values() if series.began is not None), default=hour)
    return [
        Told(Stream(finding.action, seen.mode), finding)
        for seen in callers
        for finding in new_callers([seen.caller], began=began, hour=hour, floor_nanousd=floor)
    ]


def _end(end: datetime) -> int:
    """Of everybody: what was not found for long, and what lasts so long that it is usual."""
    return Anomaly.objects.filter(Q(seen_at__lt=end - QUIET) | Q(found_at__lt=end - LONGEST), state=State.OPEN).update(
        state=State.OVER
    )
