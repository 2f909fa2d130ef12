"""What an anomaly is said in: sentences, for pages, mails and programs alike. No USD of calls whose USD are hidden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from organizations.models import ApiToken, Organization
from usage import amounts
from usage.audience import OF_OWNERS, sees_usd
from usage.models import Anomaly, Mode
from usage.names import provider_name

Kind = Anomaly.Kind
MILLION = 1_000_000
NOBODY: Mapping[str, str] = {}
MEASURES = {
    "tokens": "tokens of input a call",
    "output": "tokens of output a call",
    "models": "the mix of models",
    "cache": "the share read from cache",
    "retries": "the share of retries",
}


@dataclass(frozen=True, slots=True)
class Said:
    """
    `what` is a sentence; `cost` too; `drivers` are sentences, or one that says that nothing is known or found; `also`
    is what else was found of the same cause.
    """

    title: str
    what: str
    cost: str
    drivers: tuple[str, ...]
    also: tuple[str, ...] = ()


def said(anomaly: Anomaly, *, action: str, callers: Mapping[str, str] = NOBODY, credits: str = "") -> Said:
    """
    `action` is its name; `callers` those of tokens, as `names_of_callers` gives them, and of keys; `credits` says what
    Managed calls cost.
    """
    return Said(
        title=f"{anomaly.get_kind_display()}: {action}" if anomaly.action else anomaly.get_kind_display(),
        what=_what(anomaly, callers),
        cost=_cost(anomaly, credits),
        drivers=_drivers(anomaly),
        also=tuple(_what(view, callers) for view in anomaly.views[1:] if is_shown(view)),
    )


def names_of_callers(organization: Organization, anomalies: Iterable[Anomaly]) -> dict[str, str]:
    """The tokens that these are about, by id."""
    views = (view for anomaly in anomalies for view in anomaly.views)
    ids = [int(view.subject) for view in views if view.kind == Kind.NEW_CALLER]
    tokens = ApiToken.objects.for_organization(organization).filter(pk__in=ids) if ids else ()
    return {str(token.pk): f"“{token.name}”" for token in tokens}


def is_shown(anomaly: Anomaly) -> bool:
    """Whether the organization is told of it at all: what Managed calls cost is the operator's affair."""
    return anomaly.kind not in Anomaly.OF_USD or anomaly.mode != Mode.MANAGED or sees_usd(anomaly.mode)


def _what(anomaly: Anomaly, callers: Mapping[str, str]) -> str:
    usual, found = anomaly.usual, anomaly.found
    if anomaly.kind in Anomaly.OF_USD and not sees_usd(anomaly.mode):
        is_of_run = anomaly.kind == Kind.DEAR_RUN
        return "One run cost far more than usual." if is_of_run else "Requests cost more than usual."
    match anomaly.kind:
        case Kind.REQUESTS:
            return f"{found:,} requests {_within(anomaly.hours)}; usual at this time of the week are {usual:,}."
        case Kind.COST_PER_REQUEST:
            return f"A request cost {_usd(found)} {_within(anomaly.hours)}; usual is {_usd(usual)}."
        case Kind.REQUESTS_DRIFT:
            return f"{found:,} requests a day in the last week, four weeks ago {usual:,}; more in each week."
        case Kind.COST_PER_REQUEST_DRIFT:
            return f"A request cost {_usd(found)} in the last week, four weeks ago {_usd(usual)}; more in each week."
        case Kind.RETRIES:
            return f"{_share(found)} of the calls {_within(anomaly.hours)} were sent again; usual is {_share(usual)}."
        case Kind.CACHE_LOSS:
            return (
                f"{_share(found)} of the input {_within(anomaly.hours)} was read from cache; usual is {_share(usual)}."
            )
        case Kind.ERROR_STORM:
            return f"{_share(found)} of the calls {_within(anomaly.hours)} failed; usual is {_share(usual)}."
        case Kind.NEW_MODEL:
            return f"{found:,} calls within a day went to {_model(anomaly.subject)}, which was never called before."
        case Kind.NEW_CALLER:
            caller = callers.get(anomaly.subject, "that was revoked since")
            return f"{found:,} calls came by the token {caller}, which never called before."
        case Kind.DEAR_RUN:
            return f"One run cost {_usd(found)}; usual is {_usd(usual)}."
        case Kind.ELSEWHERE:
            key = callers.get(anomaly.subject, "This key, removed since,")
            if not sees_usd(anomaly.mode):
                return f"{key} was used for more than what passed here, by its provider's account."
            return (
                f"{key} cost {_usd(usual + found)} {_within(anomaly.hours)} by its provider's account; what passed "
                f"here with it cost {_usd(usual)}."
            )
    raise ValueError(anomaly.kind)


def _cost(anomaly: Anomaly, credits: str) -> str:
    if not sees_usd(anomaly.mode):
        if anomaly.mode != Mode.MANAGED:
            return f"What that costs is {OF_OWNERS}."
        return f"These calls are Managed: what they cost is paid by the operator. {credits}".strip()
    if anomaly.a_day_nanousd is None:
        return "What that costs is not known."
    amount = amounts.dollars(anomaly.a_day_nanousd)
    if anomaly.kind == Kind.DEAR_RUN:
        return f"That is {amount} more than usual (estimated)."
    if anomaly.kind == Kind.ELSEWHERE:
        return f"What did not pass here cost {amount}."
    if anomaly.kind in (Kind.NEW_MODEL, Kind.NEW_CALLER):
        return f"That cost {amount} (estimated)."
    of_day = "in its last 24 hours" if anomaly.state == Anomaly.State.OVER else "in the last 24 hours"
    return f"That cost {amount} more than usual {of_day} (estimated)."


def _drivers(anomaly: Anomaly) -> tuple[str, ...]:
    if anomaly.kind in (Kind.NEW_MODEL, Kind.NEW_CALLER, Kind.ELSEWHERE) and not anomaly.drivers:
        return ()
    if anomaly.drivers is None:
        return ("What drives it was not measured.",)
    unmeasured = [words for name, words in MEASURES.items() if name in anomaly.unmeasured]
    rest = (f"Not measured: {', '.join(unmeasured)}.",) if unmeasured else ()
    if not anomaly.drivers:
        measured = [words for name, words in MEASURES.items() if name not in anomaly.unmeasured]
        return (f"Nothing that is measured drives it: {', '.join(measured)} are as before.", *rest)
    return (*(_driver(driver) for driver in anomaly.drivers), *rest)


def _driver(driver: dict[str, Any]) -> str:
    before, since = driver["before"], driver["since"]
    match driver["name"]:
        case "tokens":
            return f"Calls read {since:,.0f} tokens of input on average, before {before:,.0f}."
        case "output":
            return f"Answers take {since:,.0f} tokens on average, before {before:,.0f}."
        case "models":
            return f"{since:.0%} of the calls go to {_model(driver['model'])}, before {before:.0%}."
        case "cache":
            return f"{since:.0%} of the input is read from cache, before {before:.0%}."
        case _:
            return f"{since:.0%} of the calls are sent again, before {before:.0%}."


def _within(hours: int) -> str:
    return "within an hour" if hours == 1 else f"within {hours} hours"


def _share(millionths: int) -> str:
    return f"{millionths / MILLION:.0%}"


def _usd(nanousd: int) -> str:
    return amounts.dollars(nanousd, places=4 if nanousd < 10_000_000_000 else 2)


def _model(subject: str) -> str:
    provider, _, model = subject.partition("/")
    return f"{provider_name(provider)} {model}"


def until(moment: datetime | None) -> str:
    return "for good" if moment is None else f"until {moment:%Y-%m-%d}"
