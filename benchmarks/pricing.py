"""
How long it takes to price one call, beside the price list's own calculation in the same run.

    python -m benchmarks.pricing
"""

from __future__ import annotations

import json
import os
import timeit
from datetime import UTC, datetime

import django

ROUNDS = 5
CALLS = 20_000


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("SECRET_KEY", "benchmark-only")
    django.setup()
    import genai_prices

    from usage.pricing import price
    from usage.tokens import Report, TokenUsage

    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    usage = TokenUsage(uncached_input=1200, cache_read=800, output=350, reasoning=90)
    report = Report(usage=usage, served_model="gpt-5-2025-08-07", service_tier="default")
    theirs = genai_prices.Usage(input_tokens=2000, cache_read_tokens=800, output_tokens=350)

    def best(work: object, calls: int) -> float:
        """Microseconds a call, in the best of several rounds."""
        return min(timeit.repeat(work, number=calls, repeat=ROUNDS)) / calls * 1e6  # type: ignore[arg-type]

    ours = best(lambda: price(provider="openai", model="gpt-5", report=report, at=at), CALLS)
    floor = best(
        lambda: genai_prices.calc_price(theirs, "gpt-5", provider_id="openai", genai_request_timestamp=at), CALLS // 20
    )
    print(f"price(): {ours:.2f} µs a call; genai-prices: {floor:.1f} µs")
    print(json.dumps({"price_us": round(ours, 2), "genai_prices_us": round(floor, 1), "ratio": round(floor / ours, 1)}))


if __name__ == "__main__":
    main()
