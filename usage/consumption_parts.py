"""What *Consumption* shows, as text and addresses."""

from __future__ import annotations

from dataclasses import dataclass

from usage.charts import Chart
from usage.consumption_form import Period
from usage.consumption_reading import days_in_words
from usage.metrics import Group, Metric


@dataclass(frozen=True, slots=True)
class Change:
    """`text` such as "+12%"; "" where there is nothing to compare."""

    text: str = ""
    before: str = ""  # what it was
    goes_up: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """Calls that a value does not cover, and where they are."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Row:
    """`filter_url` shows this group alone, `rows_url` what its value counts. Empty where there is no such page."""

    name: str
    note: str
    value: str
    share: str
    calls: str
    per_call: str
    per_run: str
    missing: tuple[Missing, ...]
    change: Change
    filter_url: str = ""
    rows_url: str = ""
    calls_url: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    label: str
    value: str
    note: str
    change: Change
    url: str
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Consumption:
    period: Period
    metric: Metric
    group: Group
    figures: tuple[Figure, ...]
    rows: tuple[Row, ...]
    other: Row | None
    total: Row
    chart: Chart | None
    groups: int
    all_url: str
    has_calls: bool
    notes: tuple[str, ...]

    before_words: str

    @property
    def days(self) -> str:
        return days_in_words(self.period.first, self.period.last)
