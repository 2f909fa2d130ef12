from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.models import CandidateCheck, Requirement, RequirementVerdict
from candidates.scoring import score

STRONG, POSSIBLE, NONE = CandidateCheck.Category
VERDICTS = RequirementVerdict.Verdict.values
PAIRS = st.lists(
    st.tuples(st.sampled_from(["must", "nice"]), st.integers(1, 100), st.sampled_from(VERDICTS)), max_size=20
)


def scored(*rows: tuple[str, int, str]):
    requirements = [Requirement(pk=pk, kind=kind, weight=weight) for pk, (kind, weight, _) in enumerate(rows)]
    return score(requirements, {pk: verdict for pk, (_, _, verdict) in enumerate(rows)})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (100, STRONG)),
        ([("must", 1, "met")], (100, STRONG)),
        ([("must", 1, "partly")], (100, POSSIBLE)),
        ([("must", 1, "unknown")], (100, POSSIBLE)),
        ([("must", 1, "not_met")], (100, NONE)),
        ([("must", 1, "not_met"), ("must", 1, "unknown"), ("nice", 1, "met")], (100, NONE)),
        ([("must", 1, "unknown"), ("must", 1, "not_met"), ("nice", 1, "met")], (100, NONE)),
        ([("nice", 5, "met")], (100, STRONG)),
        ([("nice", 5, "partly")], (50, POSSIBLE)),
        ([("nice", 5, "not_met")], (0, NONE)),
        ([("nice", 5, "unknown")], (0, NONE)),
        ([("must", 1, "met"), ("nice", 3, "met"), ("nice", 1, "not_met")], (75, STRONG)),
        ([("nice", 1, "met"), ("nice", 3, "not_met")], (25, NONE)),
        ([("nice", 70, "met"), ("nice", 30, "not_met")], (70, STRONG)),
        ([("nice", 69, "met"), ("nice", 31, "not_met")], (69, POSSIBLE)),
        ([("nice", 40, "met"), ("nice", 60, "not_met")], (40, POSSIBLE)),
        ([("nice", 39, "met"), ("nice", 61, "not_met")], (39, NONE)),
        ([("must", 1, "partly"), ("nice", 1, "met")], (100, POSSIBLE)),
        ([("must", 1, "partly"), ("nice", 39, "met"), ("nice", 61, "not_met")], (39, NONE)),
        ([("nice", 1, "met"), ("nice", 1, "met"), ("nice", 1, "not_met")], (67, POSSIBLE)),
        ([("nice", 1, "met"), ("nice", 1, "not_met"), ("nice", 1, "not_met")], (33, NONE)),
    ],
)
def test_score_and_category(rows, expected):
    assert scored(*rows) == expected


def test_halves_are_rounded_up_and_the_category_goes_by_the_rounded_score():
    assert scored(("nice", 5, "met"), ("nice", 3, "not_met")) == (63, POSSIBLE)  # 62.5
    assert scored(("nice", 139, "met"), ("nice", 61, "not_met")) == (70, STRONG)  # 69.5
    assert scored(("nice", 79, "met"), ("nice", 121, "not_met")) == (40, POSSIBLE)  # 39.5


def test_a_requirement_without_verdict_is_an_error():
    with pytest.raises(KeyError):
        score([Requirement(pk=1, kind="nice", weight=1)], {})


@given(PAIRS, st.integers(2, 9))
def test_only_the_relation_of_weights_matters(rows, factor):
    assert scored(*rows) == scored(*((kind, weight * factor, verdict) for kind, weight, verdict in rows))


@given(PAIRS)
def test_the_score_is_within_half_a_point_of_the_exact_mean(rows):
    nice = [(weight, verdict) for kind, weight, verdict in rows if kind == "nice"]
    worth = {"met": Fraction(1), "partly": Fraction(1, 2), "not_met": Fraction(0), "unknown": Fraction(0)}
    total = sum(weight for weight, _ in nice)
    exact = 100 * sum(weight * worth[verdict] for weight, verdict in nice) / total if total else Fraction(100)

    points, _ = scored(*rows)

    assert Fraction(-1, 2) < points - exact <= Fraction(1, 2)
