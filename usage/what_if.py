"""
What the last 30 days of an action would have cost under another model: the tokens that were counted, class by class, at
the other model's prices of today.

What nobody knows becomes a band around that figure, not a guess:

tokenizers   another model cuts the same text into other tokens. Measured on 395 profiles, resumes and job descriptions
             and 60 files of code with the published tokenizers of OpenAI (o200k), Google (Gemini), Mistral (Tekken) and
             Anthropic (its older one): nine of ten texts of one maker within 18 % of another's, o200k within 2 % of
             cl100k. Anthropic says that its models from Opus 4.7 on make up to 1.35 times as many tokens of a text as
             those before (November 2026).
caches       a model of another maker may read nothing from a cache: at most all input costs its full price.
reasoning    another model may reason more or less: at least nothing of it is paid for. One that did not reason here and
             does there costs more than the band says; pages say so.

There is no figure, but a reason, where a price is missing or too many calls have tokens nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property

from organizations.models import Organization
from usage import amounts
from usage.averages import ActionAverages, averages_of
from usage.cells import Cell, Grouping, Totals, add_up, grouped, read_groupings, shown, totals
from usage.days import MONTH, first_day
from usage.measures import RUN_MEASURES, Sums
from usage.model_names import maker_of, undated
from usage.price_list import rates_of
from usage.rates import CLASSES, SCALE, Rate, Step, rounded

# In percent: how many tokens more, or fewer the other way round, one maker's models make of a text.
OTHER_MAKER, SAME_MAKER = 120, 105
NEWER_ANTHROPIC = 135
# Of all calls, in percent: those without known tokens may be left out of an estimate, and those without a known cost of
# what it is compared with.
MOST_LEFT_OUT = 5

# Tokens that a day's requests send on average: below every length from which the price list has other prices.
SURELY_SHORT = 30_000

OF_TOKENS = (
    *("calls", "unreported_calls", "unknown_calls", "unpriced_calls", "own_server_calls", "cost_nanousd"),
    *("uncached_input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
)
BY_MODEL_AND_DAY = Grouping(("day", "provider", "model", "mode"), (*OF_TOKENS, *RUN_MEASURES))
BY_ACTION_MODEL_AND_DAY = Grouping(("day", "provider", "model", "action", "mode"), BY_MODEL_AND_DAY.measures)


@dataclass(frozen=True, slots=True)
class Offered:
    """A model that could serve; prices are those that its provider lists for the key, in nano-USD a million tokens."""

    provider: str
    model: str
    input_nanousd_per_mtok: int | None = None
    output_nanousd_per_mtok: int | None = None
    has_no_token_charges: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    Nano-USD of all runs of the period, between `low` and `high`; None with a reason in `why_not`. `notes` are what the
    figure takes for granted.
    """

    runs: int
    nanousd: int | None = None
    low: int | None = None
    high: int | None = None
    why_not: str = ""
    notes: tuple[str, ...] = ()
    has_no_token_charges: bool = False

    @property
    def a_run(self) -> int | None:
        return None if self.nanousd is None or not self.runs else round(Decimal(self.nanousd) / self.runs)

    @property
    def words(self) -> str:
        """Such as "about $0.0103 a run, $4.12 for your last 30 days ($3.43 to $4.94)"."""
        if self.has_no_token_charges:
            return "no token charges"
        if self.nanousd is None:
            return f"cannot say: {self.why_not}"
        a_run = f"{amounts.dollars(self.a_run, places=4)} a run, " if self.a_run is not None else ""
        return f"about {a_run}{self.total} for your last {MONTH} days{f' ({self.band})' if self.band else ''}"

    @property
    def short_words(self) -> str:
        """The same beside one of many models; "" where there is no figure."""
        if self.nanousd is None or self.has_no_token_charges:
            return ""
        return f"about {self.total} for your last {MONTH} days"

    @property
    def total(self) -> str:
        return amounts.dollars(self.nanousd, places=self._places)

    @property
    def band(self) -> str:
        """Such as "$3.43 to $4.94"; "" where its ends are printed alike."""
        low, high = (amounts.dollars(end, places=self._places) for end in (self.low, self.high))
        return f"{low} to {high}" if low != high else ""

    @property
    def _places(self) -> int:
        """Cents say nothing about a few of them."""
        return 4 if self.nanousd is not None and self.nanousd < amounts.ONE_USD // 10 else 2


@dataclass(frozen=True, slots=True)
class Difference:
    """Of an estimate from what the same runs cost; `percent` is None where they cost nothing."""

    nanousd: int
    percent: int | None

    @property
    def words(self) -> str:
        """Such as "-$3.10 (-42 %)"."""
        plus = "+" if self.nanousd > 0 else ""
        share = f" ({plus}{self.percent} %)" if self.percent is not None else ""
        return f"{plus}{amounts.dollars(self.nanousd)}{share}"


class Past:
    """What one action used in the last 30 days, by the model that served it."""

    def __init__(self, cells: Sequence[Cell], *, today: date, show_managed_usd: bool | None = None) -> None:
        self.cells = cells
        self.today = today
        self.show_managed_usd = show_managed_usd
        self.sums: Sums = add_up(cells)
        self.totals: Totals = totals(cells, show_managed_usd)
        self.averages: ActionAverages | None = next(iter(averages_of(cells, show_managed_usd).values()), None)

    @cached_property
    def by_model(self) -> dict[tuple[str, str], list[Cell]]:
        return grouped([cell for cell in self.cells if cell.sums.calls], lambda cell: (cell.provider, cell.model))

    @cached_property
    def sums_by_model(self) -> dict[tuple[str, str], Sums]:
        return {model: add_up(cells) for model, cells in self.by_model.items()}

    @cached_property
    def are_two_prices_enough(self) -> bool:
        """Nothing was cached and no day's requests are long: one price in and one out say all."""
        if self.sums.cache_read_tokens or self.sums.cache_write_tokens:
            return False
        return all(cell.sums.input_tokens <= cell.sums.calls * SURELY_SHORT for cell in self.cells)

    @property
    def runs(self) -> int:
        return self.sums.runs

    @property
    def calls_left_out(self) -> int:
        """Those whose tokens nobody knows: no estimate covers them."""
        return self.sums.calls_without_tokens

    @cached_property
    def paid(self) -> Past:
        """What of it has USD that the organization sees: Managed calls are paid with credits."""
        seen = shown(self.cells, self.show_managed_usd)
        return self if len(seen) == len(self.cells) else Past(seen, today=self.today)

    @property
    def is_comparable(self) -> bool:
        """Whether enough is known of what was paid."""
        paid = self.paid.totals
        return paid.cost_nanousd is not None and _are_few(paid.unpriced_calls + paid.unknown_calls, paid.calls)

    def ran_on(self, provider: str, model: str) -> bool:
        """Whether nothing else served it."""
        return set(self.by_model) == {(provider, model)}

    def estimate(self, offered: Offered) -> Estimate:
        if not self.sums.calls:
            return Estimate(0, why_not="it did not run")
        if offered.has_no_token_charges:
            return Estimate(self.runs, 0, 0, 0, has_no_token_charges=True)
        if not _are_few(self.calls_left_out, self.sums.calls):
            return Estimate(
                self.runs, why_not=f"the tokens of {self.calls_left_out:,} of {self.sums.calls:,} calls are not known"
            )
        rate = _rate_of(offered, self.today, are_two_prices_enough=self.are_two_prices_enough)
        if rate is None:
            return Estimate(self.runs, why_not="its price is not known")
        return self._priced(offered, rate)

    def difference(self, offered: Offered) -> Difference | None:
        """From what was `paid` for the same calls; None where either is not known well enough."""
        cost, estimate = self.paid.totals.cost_nanousd, self.paid.estimate(offered)
        if cost is None or estimate.nanousd is None or not self.is_comparable:
            return None
        more = estimate.nanousd - cost
        return Difference(more, round(Decimal(more * 100) / cost) if cost else None)

    def is_cheaper(self, offered: Offered, *, by_percent: int) -> bool:
        """Whether the dearest end of the band is still so much below what was `paid`."""
        cost, most = self.paid.totals.cost_nanousd, self.paid.estimate(offered).high
        if not cost or most is None or not self.is_comparable:
            return False
        return most * 100 <= cost * (100 - by_percent)

    def _priced(self, offered: Offered, rate: Rate) -> Estimate:
        low = middle = high = 0
        notes: dict[str, None] = {}
        for (provider, model), sums in self.sums_by_model.items():
            served = Offered(provider, model)
            # Where long requests have a price of their own, by how long those of a day were on average.
            parts = [cell.sums for cell in self.by_model[provider, model]] if len(rate.steps) > 1 else [sums]
            for part in parts:
                sent = part.input_tokens // max(part.calls - part.calls_without_tokens, 1)
                step = rate.step_of(sent)
                priced = _price(
                    part, step, is_same=is_same_model(served, offered), is_same_maker=_is_same_maker(served, offered)
                )
                if isinstance(priced, str):
                    return Estimate(self.runs, why_not=priced)
                fewer, more = _tokenizers(served, offered)
                low, middle = low + priced.low * fewer, middle + priced.middle * 100
                high = high + priced.high * more
                notes |= dict.fromkeys(priced.notes)
                if step is rate.steps[0] and len(rate.steps) > 1 and part.input_tokens > rate.steps[1].above:
                    notes[f"requests of more than {rate.steps[1].above:,} tokens cost more, and are not told apart"] = (
                        None
                    )
        if self.calls_left_out:
            plural = "s" if self.calls_left_out != 1 else ""
            notes[f"without {self.calls_left_out:,} call{plural} whose tokens are not known"] = None
        return Estimate(
            self.runs, _nanousd(middle), _nanousd(min(low, middle)), _nanousd(max(high, middle)), notes=tuple(notes)
        )


def past_of(*, organization: Organization, today: date, action: str, show_managed_usd: bool | None = None) -> Past:
    (cells,) = read_groupings(
        organization, first_day(today, MONTH), today, BY_MODEL_AND_DAY, where={"action": [action]}
    )
    return Past(cells, today=today, show_managed_usd=show_managed_usd)


def past_by_action(cells: Iterable[Cell], *, today: date, show_managed_usd: bool | None = None) -> dict[str, Past]:
    """Of `BY_ACTION_MODEL_AND_DAY`."""
    return {
        action: Past(of_action, today=today, show_managed_usd=show_managed_usd)
        for action, of_action in grouped(cells, lambda cell: cell.action).items()
    }


def is_same_model(served: Offered, offered: Offered) -> bool:
    """At whichever provider: "anthropic/claude-haiku-4.5" of OpenRouter is Anthropic's "claude-haiku-4-5-20251001"."""
    names = (undated(model.rpartition("/")[2]) for model in (served.model, offered.model))
    return _is_same_maker(served, offered) and len(set(names)) == 1


@dataclass(frozen=True, slots=True)
class _Priced:
    """In tokens times SCALE."""

    low: int
    middle: int
    high: int
    notes: tuple[str, ...]


def _price(sums: Sums, step: Step, *, is_same: bool, is_same_maker: bool) -> _Priced | str:
    """Or why it cannot be told."""
    prices = dict(zip(CLASSES, step.prices, strict=True))
    full, answered = prices["input"], prices["output"]
    if full is None:
        return "its price is not known"
    if answered is None and sums.output_tokens:
        return "it has no price for what it writes"
    answered, notes = answered or 0, []
    read, written = prices["cache_read"], prices["cache_write"]
    if read is None and sums.cache_read_tokens:
        notes.append("it has no price for cached input, so all input is counted in full")
    if written is None and sums.cache_write_tokens:
        notes.append("it has no price for writing to a cache, so that is counted as input")
    read = full if read is None else read
    written = full if written is None else written
    dearest_written = max(written, prices["cache_write_1h"] or 0)  # the rollup does not tell them apart
    if not is_same_maker:
        dearest_written = max(dearest_written, full)
    reasoned = prices["reasoning"]
    reasoned = answered if reasoned is None else reasoned
    plain = sums.uncached_input_tokens * full + (sums.output_tokens - sums.reasoning_tokens) * answered
    reasoning = sums.reasoning_tokens * reasoned
    cached = sums.cache_read_tokens * read + sums.cache_write_tokens * written
    dearest = sums.cache_read_tokens * (read if is_same_maker else max(read, full))
    dearest += sums.cache_write_tokens * dearest_written
    return _Priced(
        low=plain + cached + (reasoning if is_same else 0),
        middle=plain + cached + reasoning,
        high=plain + dearest + reasoning,
        notes=tuple(notes),
    )


def _rate_of(offered: Offered, today: date, *, are_two_prices_enough: bool) -> Rate | None:
    """
    By the price list, which tells cached input and long requests apart, unless the provider's own prices say otherwise;
    then by those alone. Where `are_two_prices_enough` the list is not looked into: it takes half a millisecond a model.
    """
    own = (offered.input_nanousd_per_mtok, offered.output_nanousd_per_mtok)
    if are_two_prices_enough and None not in own:
        return _rate_of_two(*own)
    listed = next((r for r in rates_of(offered.provider, offered.model, "", "", today) if isinstance(r, Rate)), None)
    if None in own:
        return listed
    stated = tuple(price * SCALE // 10**9 for price in own if price is not None)
    if listed is not None:
        first = dict(zip(CLASSES, listed.steps[0].prices, strict=True))
        if (first["input"], first["output"]) == stated:
            return listed
    return _rate_of_two(*own)


def _rate_of_two(sent: int | None, answered: int | None) -> Rate:
    """Of nano-USD a million tokens."""
    prices = {
        name: price * SCALE // 10**9 for name, price in (("input", sent), ("output", answered)) if price is not None
    }
    return Rate((Step(0, tuple(prices.get(name) for name in CLASSES), (None,) * len(CLASSES)),))


def _tokenizers(served: Offered, offered: Offered) -> tuple[int, int]:
    """In percent, how many tokens the other model makes at least and at most of what the one that served made 100."""
    if is_same_model(served, offered):
        return 100, 100
    if _is_same_maker(served, offered):
        most = NEWER_ANTHROPIC if maker_of(offered.provider, offered.model) == "anthropic" else SAME_MAKER
        return 100 * 100 // most, most
    makers = (maker_of(served.provider, served.model), maker_of(offered.provider, offered.model))
    fewest, most = (NEWER_ANTHROPIC if maker == "anthropic" else OTHER_MAKER for maker in makers)
    return 100 * 100 // fewest, most


def _is_same_maker(served: Offered, offered: Offered) -> bool:
    maker = maker_of(served.provider, served.model)
    if not maker:
        return served.provider == offered.provider and served.model == offered.model
    return maker == maker_of(offered.provider, offered.model)


def _are_few(left_out: int, of: int) -> bool:
    return left_out * 100 <= of * MOST_LEFT_OUT


def _nanousd(amount: int) -> int:
    """Of hundredths of tokens times prices."""
    return rounded(amount // 100)
