"""Finding anomalies: `manage.py detect_anomalies`, every hour, after the hour that it judges is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from usage.anomalies.detection import find
from usage.anomalies.floor import floor_of
from usage.anomalies.rules import RunsOfDay, dear_runs, find_by_rules, new_callers, usual_run
from usage.anomalies.series import DAY, Series, moment_of, number_of
from usage.episodes.elsewhere import Readings, no_readings, told_of_keys
from usage.episodes.keeping import Episodes, Told
from usage.episodes.reading import (
    SeenCaller,
    SeenRun,
    Stream,
    dear_runs_of_everybody,
    hours_of_everybody,
    new_callers_of_everybody,
    usual_runs,
)
from usage.models import Anomaly, RollupState
from usage.rollups import HOURS_KEPT_DAYS, roll_up

State = Anomaly.State
SETTLED = timedelta(minutes=5)  # after an hour its last calls have ended and are written, but for few


@dataclass(frozen=True, slots=True)
class Detected:
    """
    Of the `hours` judged, of which the last ends with `hour`: how many organizations and actions were looked at, and
    what became of episodes.
    """

    hour: str
    hours: int
    organizations: int
    actions: int
    opened: int
    seen: int
    over: int


def detect_anomalies(*, now: datetime, readings: Readings = no_readings) -> Detected:
    """
    Judge the hours that are over and were not judged yet, and the last one in any case, of all organizations that
    called within a day of them, and what providers said of keys meanwhile. Running twice finds it once.
    """
    roll_up(now=now)
    state = RollupState.objects.first()
    hours = _hours_to_judge(state, number_of(now - SETTLED) - 1)
    days = [_judge(hours[start : start + DAY], state, readings, now) for start in range(0, len(hours), DAY)]
    return Detected(
        hour=days[-1].hour,
        hours=len(hours),
        organizations=max(day.organizations for day in days),
        actions=max(day.actions for day in days),
        opened=sum(day.opened for day in days),
        seen=sum(day.seen for day in days),
        over=sum(day.over for day in days),
    )


def _hours_to_judge(state: RollupState | None, last: int) -> range:
    """As far back as hours are kept; at first only the last one, so that a past is not told as news."""
    first = number_of(state.judged_to) if state and state.judged_to else last
    return range(min(last, max(first, last + 1 - HOURS_KEPT_DAYS * DAY)), last + 1)


def _judge(hours: range, state: RollupState | None, readings: Readings, now: datetime) -> Detected:
    """These hours, one after the other; what comes of them is written at once, and with it that they were judged."""
    first, last = hours[0], hours[-1]
    kept = _kept(moment_of(first + 1))
    callers = {hour: new_callers_of_everybody(hour) for hour in hours if hour == last or (hour + 1) % DAY == 0}
    runs = {hour: dear_runs_of_everybody(hour) for hour in hours}
    usual = {hour: usual_runs(list(of_hour), hour) for hour, of_hour in runs.items() if of_hour}
    judged: dict[int, Episodes] = {}
    organizations = actions = seen = 0
    for organization, streams in hours_of_everybody(first, last):
        organizations, actions = organizations + 1, actions + len(streams)
        episodes = judged[organization] = Episodes(organization, kept[organization])
        for hour in hours:
            floor = floor_of(_usual_day(streams.values(), hour))
            told = _judged(streams, episodes, hour, floor)
            told += _judged_callers(callers.get(hour, {}).get(organization, ()), streams, hour, floor)
            told += _judged_runs(organization, runs[hour], usual.get(hour, {}), hour, floor)
            episodes.follow(told, end=moment_of(hour + 1), now=now)
            seen += len(told)
    end = moment_of(last + 1)
    of_keys: defaultdict[int, list[Told]] = defaultdict(list)
    for organization, each in told_of_keys(readings(moment_of(first), end), last):
        of_keys[organization].append(each)
        seen += 1
    for organization in (kept.keys() - judged.keys()) | of_keys.keys():
        episodes = judged.setdefault(organization, Episodes(organization, kept[organization]))
        episodes.follow(of_keys[organization], end=end, now=now)
    opened, over = _write([episodes for episodes in judged.values() if episodes.are_changed], state, end)
    return Detected(end.isoformat(), len(hours), organizations, actions, opened, seen, over)


def _write(changed: Sequence[Episodes], state: RollupState | None, end: datetime) -> tuple[int, int]:
    """
    How many were opened, and how many are over. Nothing of it where another process has judged since `state` was read;
    without one nothing was ever rolled up.
    """
    with transaction.atomic() if changed else nullcontext():  # after reading, whose cursor stays open meanwhile
        if state:
            before, state.judged_to = state.judged_to, max(state.judged_to or end, end)
            if not RollupState.objects.filter(judged_to=before).update(judged_to=state.judged_to):
                return 0, 0
        written = [episodes.write() for episodes in changed]
    return sum(opened for opened, _ in written), sum(over for _, over in written)


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


def _judged_runs(
    organization: int,
    runs: Mapping[int, list[SeenRun]],
    usual: Mapping[tuple[int, Stream], list[RunsOfDay]],
    hour: int,
    floor: int,
) -> list[Told]:
    return [
        Told(seen.stream, finding)
        for seen in runs.get(organization, ())
        for finding in dear_runs(
            [seen.run],
            usual_nanousd=usual_run(usual.get((organization, seen.stream), ())),
            hour=hour,
            floor_nanousd=floor,
        )
    ]
