"""
From verdicts to a fit score and a category. Our code decides, not the model; whole numbers only.

A nice-to-have earns its weight when met, half of it when partly met, else nothing; must-haves earn nothing
and gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from candidates.models import CandidateCheck, Requirement, RequirementVerdict

STRONG_FROM = 70
POSSIBLE_FROM = 40

Category = CandidateCheck.Category
_Answer = RequirementVerdict.Verdict
_HALVES = {_Answer.MET: 2, _Answer.PARTLY: 1, _Answer.NOT_MET: 0, _Answer.UNKNOWN: 0}


def score(requirements: Sequence[Requirement], verdicts: Mapping[int, str]) -> tuple[int, Category]:
    """
    The fit score (0 to 100) and the category; `verdicts` maps requirement id to verdict, one for each
    requirement.

    The score is the weighted mean of the nice-to-haves, halves rounded up (62.5 is 63), and 100 without
    any. The category goes by the rounded score, so that the number a person sees explains it: strong from
    70, possible from 40. A must-have that is not met makes it no fit; one that is partly met or unknown
    makes it possible at most. Raises KeyError for a requirement without verdict.
    """
    earned = total = 0
    gate = Category.STRONG
    for requirement in requirements:
        verdict = _Answer(verdicts[requirement.pk])
        if requirement.kind == Requirement.Kind.NICE:
            earned += requirement.weight * _HALVES[verdict]
            total += requirement.weight * 2
        elif verdict == _Answer.NOT_MET:
            gate = Category.NONE
        elif verdict != _Answer.MET and gate != Category.NONE:
            gate = Category.POSSIBLE
    points = (200 * earned + total) // (2 * total) if total else 100
    return points, _lower(gate, _by_points(points))


def _by_points(points: int) -> Category:
    if points >= STRONG_FROM:
        return Category.STRONG
    return Category.POSSIBLE if points >= POSSIBLE_FROM else Category.NONE


def _lower(one: Category, other: Category) -> Category:
    worst_first = (Category.NONE, Category.POSSIBLE, Category.STRONG)
    return min(one, other, key=worst_first.index)
