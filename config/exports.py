"""The files of an organization by the names that the page, the API and the command know them by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from billing.credit_export import credits_file
from organizations.models import Organization
from usage.audience import sees_any_usd
from usage.exports.cells import Piece
from usage.exports.periods import Period, refuse_what_has_left
from usage.exports.sealing import Others, other_file, usage_file


@dataclass(frozen=True, slots=True)
class Format:
    title: str
    about: str
    file: str  # as seals know it
    has_usd: bool = True


FORMATS = {
    "csv": Format(
        "Model calls (CSV)", "A line for each call: who asked, what served it, tokens by class, cost.", "calls"
    ),
    "focus": Format(
        "FOCUS 1.4 in USD (CSV)",
        "Cost and Usage for FinOps tools: a row for each day, model, key, action and class of tokens.",
        "focus",
    ),
    "credits": Format(
        "FOCUS 1.4 in credits (CSV)",
        "What candidate checks were charged, by day and price.",
        "credits",
        has_usd=False,
    ),
}
OTHERS: Others = {"credits": credits_file}


WITHHELD = "This file tells what calls cost, which only owners and admins see here. Ask an owner for it."


class Withheld(Exception):
    """Whoever asks may not see what stands in the file; the sentence says whom to ask."""


def offered() -> dict[str, Format]:
    """Those that whoever looks may have. A file without its USD would be another file than the one that is sealed."""
    return {name: each for name, each in FORMATS.items() if sees_any_usd() or not each.has_usd}


def export(organization: Organization, format: str, period: Period) -> Iterator[Piece]:
    """
    Raises Withheld and BadPeriod at once; and SealBroken while it is read, if it is of a sealed month and not what was
    sealed.
    """
    if format not in offered():
        raise Withheld(WITHHELD)
    name = FORMATS[format].file
    if name in OTHERS:
        return other_file(name, organization, period, others=OTHERS)
    refuse_what_has_left(period)
    return usage_file(name, organization, period)


def file_name(organization: Organization, format: str, period: Period) -> str:
    return f"keyfare-{organization.slug}-{FORMATS[format].file}-{period}.csv"
