"""Recorded traffic, with and without cached prefixes, through pricing, rollup and reports."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from django.conf import settings
from django.db.models import F, Sum

from tests.usage.conftest import KEY, NOON, roll_up
from usage.cost_panel import cost_summary
from usage.measures import MEASURES
from usage.models import Mode, UsageDaily, UsageEvent
from usage.pricing import price
from usage.tokens import Report, TokenUsage

TRACES = Path(settings.BASE_DIR).parent / "shared" / "data" / "usage_traces"
BLOCK = 512  # tokens of a cached prefix block
ROWS = 5000  # of each trace

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not TRACES.is_dir(), reason="needs the recorded traffic in ../shared/data/usage_traces"),
]


def chat() -> Iterator[tuple[datetime, TokenUsage]]:
    with (TRACES / "azure2023_conv_first60pct.csv").open() as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC)
            usage = TokenUsage.from_inclusive(int(row["ContextTokens"]), output=int(row["GeneratedTokens"]))
            yield at + timedelta(hours=5, minutes=30), usage  # across midnight


def cached_conversation() -> Iterator[tuple[datetime, TokenUsage]]:
    with (TRACES / "mooncake_conversation.csv").open() as file:
        for row in csv.DictReader(file):
            at = datetime(2023, 11, 17, 22, tzinfo=UTC) + timedelta(milliseconds=int(row["timestamp_ms"]))
            seen = int(row["prefix_blocks_seen_before"]) * BLOCK
            yield (
                at,
                TokenUsage.from_inclusive(int(row["input_length"]), seen, output=int(row["output_length"])),
            )


def write(organization, calls: list[tuple[datetime, TokenUsage]], provider: str, model: str) -> int:
    """Writes one event a call; returns their cost."""
    events = []
    for at, usage in calls:
        cost = price(provider=provider, model=model, report=Report(usage=usage), at=at)
        events.append(
            UsageEvent(
                organization=organization,
                call_id=uuid.uuid4(),
                occurred_at=at,
                provider=provider,
                model=model,
                action="candidate_check",
                key_id=KEY,
                key_label="Default",
                mode=Mode.BYOK,
                run_id=uuid.uuid4(),
                status=UsageEvent.Status.ANSWERED,
                usage_reported=True,
                counts_run=True,
                counts_priced_run=cost.cost_nanousd is not None,
                uncached_input_tokens=usage.uncached_input,
                cache_read_tokens=usage.cache_read,
                output_tokens=usage.output,
                cost_nanousd=cost.cost_nanousd,
                price_source=cost.source,
                price_version=cost.version,
            )
        )
    UsageEvent.objects.bulk_create(events, batch_size=500)
    return sum(event.cost_nanousd or 0 for event in events)


def test_the_rollup_of_recorded_traffic_equals_its_events(acme, globex):
    chats, cached = list(islice(chat(), ROWS)), list(islice(cached_conversation(), ROWS))
    chat_cost = write(acme, chats, "openai", "gpt-4o-mini")
    roll_up(now=NOON)
    cached_cost = write(acme, cached[: len(cached) // 2], "anthropic", "claude-sonnet-4-5")
    cached_cost += write(globex, cached[len(cached) // 2 :], "anthropic", "claude-sonnet-4-5")
    assert roll_up(now=NOON).events == len(cached)

    rolled_up = UsageDaily.objects.aggregate(**{f"sum_{name}": Sum(name) for name in MEASURES})
    tokens = sum(usage.total for _, usage in chats + cached)
    assert rolled_up["sum_calls"] == rolled_up["sum_priced_runs"] == len(chats) + len(cached)
    assert rolled_up["sum_cost_nanousd"] == chat_cost + cached_cost
    assert rolled_up["sum_cache_read_tokens"] == sum(usage.cache_read for _, usage in cached) > 0
    assert (
        UsageDaily.objects.aggregate(
            tokens=Sum(F("uncached_input_tokens") + F("cache_read_tokens") + F("output_tokens"))
        )["tokens"]
        == tokens
    )
    # gpt-4o-mini: 0.15 USD per million in, 0.60 out
    assert chat_cost == sum(usage.input_total * 150 + usage.output * 600 for _, usage in chats)
    days = {at.date() for at, _ in chats + cached}
    assert set(UsageDaily.objects.values_list("day", flat=True)) == days

    acme_calls = chats + cached[: len(cached) // 2]
    last_day = max(at.date() for at, _ in acme_calls)
    totals = cost_summary(organization=acme, today=last_day, show_managed_usd=False).week
    assert totals.calls == len(acme_calls)
    assert totals.tokens == sum(usage.total for _, usage in acme_calls)
    yesterday = cost_summary(organization=acme, today=last_day - timedelta(days=1), show_managed_usd=False).week
    assert yesterday.calls == sum(at.date() < last_day for at, _ in acme_calls)
