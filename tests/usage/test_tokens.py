from __future__ import annotations

import pytest

from usage.tokens import TokenUsage


def test_inclusive_sums_are_split_into_classes_that_do_not_overlap():
    usage = TokenUsage.from_inclusive(1000, 400, 100, 50, 20)

    assert usage == TokenUsage(uncached_input=500, cache_read=400, cache_write=100, output=50, reasoning=20)
    assert usage.input_total == 1000
    assert usage.total == 1050


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ((10, 25, 0, 5, 0), TokenUsage(cache_read=10, output=5)),  # more cached than sent
        ((10, 6, 9, 5, 0), TokenUsage(cache_read=6, cache_write=4, output=5)),
        (
            (10, 0, 0, 5, 9),
            TokenUsage(uncached_input=10, output=5, reasoning=5),
        ),  # more reasoning than output
        ((-3, -1, -1, -1, -1), TokenUsage()),
    ],
)
def test_sums_that_a_provider_broke_never_go_below_zero_nor_above_its_total(reported, expected):
    assert TokenUsage.from_inclusive(*reported) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"uncached_input": -1},
        {"output": 1, "reasoning": 2},
        {"output": 5, "reasoning": 2, "audio_output": 2, "image_output": 2},
        {"uncached_input": 5, "audio_input": 3, "image_input": 3},
        {"cache_read": 1, "uncached_input": 9, "audio_cache_read": 2},
    ],
)
def test_a_usage_that_contradicts_itself_cannot_be_made(wrong):
    with pytest.raises(ValueError, match="may not"):
        TokenUsage(**wrong)
