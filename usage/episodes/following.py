"""Finding anomalies: `manage.py detect_anomalies`, every hour, after the hour that it judges is over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from usage.anomalies.detection import find
from usage.anomalies.findings import Finding
from usage.anomalies.floor import floor_of
from usage.anomalies.rules import dear_runs, find_by_rules, new_callers, usual_run
from usage.anomalies.series import DAY, Series, moment_of, number_of
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

State, Kind = Anomaly.State, Anomaly.Kind
SETTLED = timedelta(minutes=5)  # after an hour its last calls have ended and are written, but for few
QUIET = timedelta(days=3)  # not found for so long, it is over
LONGEST = timedelta(days=14)  # what has lasted for half of the history is usual by now
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Detected:
    """Of the `hour` judged: how many organizations and actions were looked at, and what became of episodes."""

    hour: str
    organizations: int
    actions: int
    opened: int
    seen: int
    over: int


@dataclass(frozen=True, slots=True)
class Told:
    stream: Stream
    finding: Finding


def detect_anomalies(*, now: datetime) -> Detected:
    """Judge the last hour that is over, of all organizations that called within a day. Running twice finds it once."""
    roll_up(now=now)
    hour = number_of(now - SETTLED) - 1
    end = moment_of(hour + 1)
    kept = _kept(end)
    callers, runs = new_callers_of_everybody(hour), dear_runs_of_everybody(hour)
    usual = usual_runs(list(runs), hour) if runs else {}
    found: dict[int, list[Told]] = {}
    organizations = actions = 0
    for organization, streams in hours_of_everybody(hour):
        organizations, actions = organizations + 1, actions + len(streams)
        floor = floor_of(_usual_day(streams.values(), hour))
        told = _judged(streams, kept[organization], hour, floor)
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
            found[organization] = told
    opened = seen = 0
    for organization, told in found.items():  # after reading, whose cursor stays open meanwhile
        news = _follow(organization, told, kept[organization], end, now)
        opened, seen = opened + news, seen + len(told)
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


def _judged(streams: dict[Stream, Series], kept: Sequence[Anomaly], hour: int, floor: int) -> list[Told]:
    told = []
    for stream, plain in streams.items():
        series = replace(plain, left_out=_left_out(stream, kept))
        findings = [
            *find(series, hour=hour, floor_nanousd=floor),
            *find_by_rules(series, hour=hour, floor_nanousd=floor),
        ]
        told += [Told(stream, finding) for finding in findings]
    return told


def _left_out(stream: Stream, kept: Sequence[Anomaly]) -> frozenset[int]:
    return frozenset(
        hour
        for anomaly in kept
        if (anomaly.action, anomaly.mode) == stream
        and anomaly.kind in Anomaly.OF_HOURS
        and anomaly.state != State.EXPECTED
        and anomaly.seen_at - anomaly.since < LONGEST
        for hour in range(number_of(anomaly.since), number_of(anomaly.seen_at))
    )


def _judged_callers(callers: Iterable[SeenCaller], streams: dict[Stream, Series], hour: int, floor: int) -> list[Told]:
    began = min((series.began for series in streams.values() if series.began is not None), default=hour)
    return [
        Told(Stream(finding.action, seen.mode), finding)
        for seen in callers
        for finding in new_callers([seen.caller], began=began, hour=hour, floor_nanousd=floor)
    ]


def _follow(organization: int, told: list[Told], kept: Sequence[Anomaly], end: datetime, now: datetime) -> int:
    """Returns how many episodes were opened."""
    by_signature: defaultdict[tuple[str, ...], list[Anomaly]] = defaultdict(list)
    for anomaly in kept:
        by_signature[anomaly.signature].append(anomaly)
    new: list[Anomaly] = []
    with transaction.atomic():
        for stream, finding in ((each.stream, each.finding) for each in told):
            episode = _episode(organization, stream, finding, end, now)
            same = by_signature[episode.signature]
            is_open = next((anomaly for anomaly in same if anomaly.state == State.OPEN), None)
            if is_open is None:
                if not any(anomaly.covers(episode.found, end) or _was_told(anomaly, episode) for anomaly in same):
                    new.append(episode)
                continue
            Anomaly.objects.for_organization(organization).filter(pk=is_open.pk, state=State.OPEN).update(
                seen_at=end,
                **{name: getattr(episode, name) for name in ("hours", "usual", "found", "a_day_nanousd")},
                drivers=episode.drivers,
                unmeasured=episode.unmeasured,
            )
        Anomaly.objects.bulk_create(new, ignore_conflicts=True)  # where another process was faster
    return len(new)


def _was_told(anomaly: Anomaly, episode: Anomaly) -> bool:
    """A run, and that somebody is new, is told once, whatever was said to it."""
    return episode.kind in (Kind.DEAR_RUN, Kind.NEW_CALLER, Kind.NEW_MODEL) and anomaly.since >= episode.since


def _episode(organization: int, stream: Stream, finding: Finding, end: datetime, now: datetime) -> Anomaly:
    unit = MILLION if finding.kind in Anomaly.SHARES else 1
    return Anomaly(
        organization_id=organization,
        kind=finding.kind,
        action=stream.action,
        mode=stream.mode,
        subject=finding.subject[:200],
        since=moment_of(finding.since),
        seen_at=end,
        found_at=now,
        hours=finding.hours,
        usual=round(finding.usual * unit),
        found=round(finding.found * unit),
        a_day_nanousd=finding.a_day_nanousd,
        drivers=None if finding.drivers is None else [asdict(driver) for driver in finding.drivers],
        unmeasured=list(finding.unmeasured),
    )


def _end(end: datetime) -> int:
    """Of everybody: what was not found for long, and what lasts so long that it is usual."""
    return Anomaly.objects.filter(Q(seen_at__lt=end - QUIET) | Q(found_at__lt=end - LONGEST), state=State.OPEN).update(
        state=State.OVER
    )
