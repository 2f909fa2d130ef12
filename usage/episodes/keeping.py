"""What becomes of what was found: episodes that are opened, seen again, told with one of the same cause, or over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from usage.anomalies.causes import is_one_cause, rank
from usage.anomalies.drivers import Driver
from usage.anomalies.findings import Finding
from usage.anomalies.series import moment_of, number_of
from usage.episodes.reading import Stream
from usage.models import Anomaly, Mode

State, Kind = Anomaly.State, Anomaly.Kind
QUIET = timedelta(days=3)  # not found for so long, it is over
LONGEST = timedelta(days=14)  # what has lasted for half of the history is usual by now
MILLION = 1_000_000
SEEN = ("seen_at", "hours", "usual", "found", "a_day_nanousd", "drivers", "unmeasured")
CHANGING = (*SEEN, "state", "also")


@dataclass(frozen=True, slots=True)
class Told:
    stream: Stream
    finding: Finding


class Episodes:
    """Those of one organization: as they are kept, and with what is found; `write` keeps that, too."""

    def __init__(self, organization: int, kept: Sequence[Anomaly]) -> None:
        self._organization = organization
        self._kept = list(kept)
        self._changed: dict[int, Anomaly] = {}
        self._new: list[Anomaly] = []
        self._over = 0

    def left_out(self, stream: Stream) -> frozenset[int]:
        """The hours of `stream` that nobody called usual."""
        return frozenset(
            hour
            for anomaly in self._of(stream)
            if anomaly.state != State.EXPECTED
            for view in anomaly.views
            if view.kind in Anomaly.OF_HOURS and view.seen_at - view.since < LONGEST
            for hour in range(number_of(view.since), number_of(view.seen_at))
        )

    @property
    def are_changed(self) -> bool:
        return bool(self._new or self._changed)

    def follow(self, told: Iterable[Told], *, end: datetime, now: datetime) -> None:
        """`told` was found in the hour that ends with `end`, and what was not found for long by then is over."""
        for each in sorted(told, key=_rank):
            self._follow(each.stream, _episode(self._organization, each.stream, each.finding, end, now), each.finding)
        for anomaly in self._kept:
            if anomaly.state == State.OPEN and (anomaly.seen_at < end - QUIET or anomaly.found_at < end - LONGEST):
                anomaly.state = State.OVER
                self._over += 1
                if anomaly.pk:
                    self._changed[anomaly.pk] = anomaly

    def write(self) -> tuple[int, int]:
        """Returns how many episodes were opened, and how many are over. In a transaction of the caller's."""
        own = Anomaly.objects.for_organization(self._organization)
        for anomaly in self._changed.values():
            before = State.EXPECTED if anomaly.state == State.EXPECTED else State.OPEN  # as it was when it was read
            own.filter(pk=anomaly.pk, state=before).update(**{name: getattr(anomaly, name) for name in CHANGING})
        Anomaly.objects.bulk_create(self._new, ignore_conflicts=True)  # where another process was faster
        return len(self._new), self._over

    def _of(self, stream: Stream) -> list[Anomaly]:
        return [anomaly for anomaly in self._kept if (anomaly.action, anomaly.mode) == stream]

    def _follow(self, stream: Stream, episode: Anomaly, finding: Finding) -> None:
        kept, end = self._of(stream), episode.seen_at
        same = [(anomaly, view) for anomaly in kept for view in anomaly.views if view.signature == episode.signature]
        host = next((anomaly for anomaly, _ in same if anomaly.state == State.OPEN), None)
        if host is None:
            if any(view.covers(episode.found, end) or _was_told(view, episode) for _, view in same):
                return
            others = [anomaly for anomaly in kept if not any(anomaly is each for each, _ in same)]
            host = _host(others, stream, finding, end)
        if host is None:
            self._kept.append(episode)
            self._new.append(episode)
            return
        if host.signature == episode.signature:
            for name in SEEN:
                setattr(host, name, getattr(episode, name))
        else:
            host.tell_with(episode)
        if host.pk:
            self._changed[host.pk] = host


def _host(kept: Iterable[Anomaly], stream: Stream, finding: Finding, end: datetime) -> Anomaly | None:
    """
    The episode of the same cause, open or declared expected. What organizations are told of is not hidden in one that
    they are not told of.
    """
    return next(
        (
            anomaly
            for anomaly in kept
            if (anomaly.state == State.OPEN or anomaly.is_expected(end))
            and (is_of_operator(stream.mode, finding.kind) or not is_of_operator(stream.mode, anomaly.kind))
            and is_one_cause(finding, _finding(anomaly))
        ),
        None,
    )


def _rank(told: Told) -> tuple[bool, int]:
    return is_of_operator(told.stream.mode, told.finding.kind), rank(told.finding)


def is_of_operator(mode: str, kind: str) -> bool:
    """Whether it is all about what Managed calls cost."""
    return mode == Mode.MANAGED and kind in Anomaly.OF_USD


def _finding(anomaly: Anomaly) -> Finding:
    return Finding(
        kind=anomaly.kind,  # type: ignore[arg-type]
        action=anomaly.action,
        since=number_of(anomaly.since),
        hour=number_of(anomaly.seen_at) - 1,
        hours=anomaly.hours,
        usual=anomaly.usual,
        found=anomaly.found,
        a_day_nanousd=anomaly.a_day_nanousd,
        drivers=None if anomaly.drivers is None else tuple(Driver(**driver) for driver in anomaly.drivers),
        subject=anomaly.subject,
    )


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
