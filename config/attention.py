"""
What wants somebody's attention: each with since when, and one button that does something about it.

A source looks at what the page has read and says what it found, the worst of it first; to add one, add it to SOURCES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.urls import reverse
from django.utils.http import urlencode

from billing.pace import Pace
from candidates.ended_checks import Ended, Status
from config.anomalies import FEW
from config.worker import alarm
from organizations.models import Membership, Organization
from organizations.permissions import Permission, may
from providers.cards import days_if_old
from providers.catalog import PROVIDERS
from providers.models import ProviderKey
from routing.table import Trouble
from usage.days import WEEK, first_day
from usage.episodes.words import said
from usage.models import Anomaly

FEW_DAYS = 14  # of credits


@dataclass(frozen=True, slots=True)
class Item:
    """
    `what` is the matter, with `detail`; `since`, with the word before it where that is another; and the button: what
    it says, where it leads, and whether it is pressed by posting.
    """

    tone: str  # of the callouts: bad, warn or info
    what: str
    button: str
    url: str
    detail: str = ""
    detail_url: str = ""
    since: datetime | None = None
    since_word: str = "Since"
    is_post: bool = False


@dataclass(frozen=True, slots=True)
class Looked:
    """What the page has read."""

    membership: Membership
    now: datetime
    troubles: Sequence[Trouble]  # of actions that should run
    keys: Sequence[ProviderKey]
    pace: Pace
    ended: Sequence[Ended]  # of the last 7 days at least
    seen_until: datetime | None  # when failed checks were looked at last
    anomalies: Sequence[Anomaly]  # open ones, the latest FEW
    names: Mapping[str, str]  # of their actions
    credits: Mapping[int, str]  # what Managed calls of them cost
    is_set_up: bool  # the checklist is done; it says itself that no key is there yet

    @property
    def organization(self) -> Organization:
        return self.membership.organization

    def address(self, name: str, *arguments: object) -> str:
        return reverse(name, args=[self.organization.slug, *arguments])


def broken_routes(looked: Looked) -> Iterator[Item]:
    settings = looked.address("settings")
    for trouble in looked.troubles:
        key = trouble.key
        if key is None and not looked.is_set_up:
            continue
        if trouble.is_paused or trouble.has_own_models or key is None:
            section = "llm-routing" if trouble.is_paused or trouble.has_own_models else "llm-providers"
            button = "Connect a key" if section == "llm-providers" else "Go to routing"
            yield Item("warn", trouble.sentence, button, f"{settings}#{section}")
            continue
        card = f"{settings}#provider-{key.provider}"
        button, url, is_post = "Go to the key", card, False
        if may(looked.membership, Permission.MANAGE_KEYS):
            button, url, is_post = _mending(looked, key)
        yield Item(
            "bad",
            trouble.sentence,
            button,
            url,
            detail=f"{PROVIDERS[key.provider].name} key “{key.label}”: {key.state.label}. {key.state.detail}".strip(),
            detail_url=card,
            since=key.state.validated_at,
            since_word="Its provider said so",
            is_post=is_post,
        )


def _mending(looked: Looked, key: ProviderKey) -> tuple[str, str, bool]:
    """The button that mends a key: what it says, where it leads, and whether by posting."""
    statuses = ProviderKey.Status
    match key.state.status:
        case statuses.DISABLED:
            return "Enable key", looked.address("providers:enable", key.pk), True
        case statuses.INVALID | statuses.NEEDS_REENTRY:
            return "Replace key", looked.address("providers:replace", key.pk), False
    return "Validate key", looked.address("providers:validate", key.pk), True


def stopped_work(looked: Looked) -> Iterator[Item]:
    stop = alarm.stop_of_work_if_late()
    if stop is None:
        return
    told = " Whoever runs this installation has been told." if stop.is_told else ""
    what = "Background work has stopped" if stop.since else "Background work was never started on this installation"
    yield Item(
        "bad",
        f"{what}: no check, draft or validation runs.",
        "See what waits",
        f"{looked.address('candidates:checks')}?status=running",
        detail=f"Nothing is lost: what waits goes on when the worker is back.{told}",
        since=stop.since,
    )


def few_credits(looked: Looked) -> Iterator[Item]:
    days, pace = looked.pace.days_left, looked.pace
    if days is None or days > FEW_DAYS:
        return
    left = "No credits are left." if pace.available <= 0 else f"Your credits last {lasting(days)} at this pace."
    yield Item(
        "bad" if pace.available <= 0 else "warn",
        left,
        "See credits",
        f"{looked.address('credits')}?show=spent",
        detail=f"{pace.available:,} available; {pace.charged:,} charged in the last {pace.days} days.",
    )


def lasting(days: int) -> str:
    return "less than a day" if not days else f"about {days:,} day{'' if days == 1 else 's'}"


def failed_checks(looked: Looked) -> Iterator[Item]:
    """Those of the last 7 days that this person has not looked at."""
    week = first_day(looked.now.date(), WEEK)
    failed = [each for each in looked.ended if each.status == Status.FAILED and each.day >= week and each.latest]
    count = sum(each.latest for each in failed)
    if not count:
        return
    yield Item(
        "warn",
        f"{count:,}{' more' if looked.seen_until else ''} check{'' if count == 1 else 's'} failed.",
        "See why",
        looked.address("failed-checks"),
        detail="No credits were charged. Each says why, and can be run again.",
        since=min(each.first_at for each in failed if each.first_at),
        is_post=True,
    )


def failed_checks_url(organization: Organization, first: date, last: date) -> str:
    days = urlencode(
        {"status": Status.FAILED.value, "by": "finished", "from": first.isoformat(), "to": last.isoformat()}
    )
    return f"{reverse('candidates:checks', args=[organization.slug])}?{days}"


def open_anomalies(looked: Looked) -> Iterator[Item]:
    """The latest; where there are as many as were read, that there may be more of them."""
    for anomaly in looked.anomalies[: FEW - 1]:
        credits = looked.credits.get(anomaly.pk, "")
        words = said(anomaly, action=looked.names[anomaly.action], credits=credits)
        yield Item(
            "warn",
            f"{words.title}.",
            "See the anomaly",
            f"{looked.address('anomalies')}#anomaly-{anomaly.pk}",
            detail=" ".join([*(words.drivers[:1] if anomaly.drivers else ()), words.cost]),
            since=anomaly.since,
        )
    if len(looked.anomalies) == FEW:
        yield Item("info", "There are further anomalies.", "See all anomalies", looked.address("anomalies"))


def old_keys(looked: Looked) -> Iterator[Item]:
    for key in looked.keys:
        days = days_if_old(key, now=looked.now) if key.is_usable else 0
        if not days:
            continue
        card = f"{looked.address('settings')}#provider-{key.provider}"
        may_replace = may(looked.membership, Permission.MANAGE_KEYS)
        yield Item(
            "info",
            f"{PROVIDERS[key.provider].name} key “{key.label}” should be replaced: it is {days} days old.",
            "Replace key" if may_replace else "Go to the key",
            looked.address("providers:replace", key.pk) if may_replace else card,
            detail="Make a new key at the provider, replace it here, then delete the old one there.",
            detail_url=card,
            since=key.secret_since,
            since_word="In use since",
        )


SOURCES: list[Callable[[Looked], Iterable[Item]]] = [
    broken_routes,
    stopped_work,
    few_credits,
    open_anomalies,
    failed_checks,
    old_keys,
]


def needs_attention(looked: Looked) -> list[Item]:
    """What every source found, the worst first."""
    tones = ("bad", "warn", "info")
    return sorted((item for source in SOURCES for item in source(looked)), key=lambda item: tones.index(item.tone))
