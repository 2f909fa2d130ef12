"""How lists say how a check ended and what it cost."""

from __future__ import annotations

import pytest

from candidates.models import CandidateCheck
from candidates.templatetags.check_words import credits_of, fit, outcome, status_badge

Status = CandidateCheck.Status


@pytest.mark.parametrize(
    ("category", "score", "shown"),
    [
        ("strong", 91, '<span class="badge ok">Strong fit · 91</span>'),
        ("possible", 50, '<span class="badge warn">Possible fit · 50</span>'),
        ("none", 0, '<span class="badge bad">No fit · 0</span>'),
        ("", None, '<span class="muted">—</span>'),
    ],
)
def test_a_completed_check_says_how_well_the_person_fits(category, score, shown):
    check = CandidateCheck(status=Status.COMPLETED, category=category, score=score)

    assert outcome(check) == fit(category, score) == shown


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (Status.PENDING, '<span class="badge">Pending</span>'),
        (Status.IN_PROGRESS, '<span class="badge info">In Progress</span>'),
        (Status.FAILED, '<span class="badge bad">Failed</span>'),
    ],
)
def test_another_check_says_where_it_stands(status, shown):
    assert outcome(CandidateCheck(status=status)) == shown


def test_a_status_is_words_and_a_tone():
    assert status_badge("completed", "<Done>") == '<span class="badge ok">&lt;Done&gt;</span>'


@pytest.mark.parametrize(
    ("charged", "price", "shown"),
    [
        (4, 4, "4"),
        (0, 4, "0"),
        (12_345, 0, "12,345"),
        (None, 1_234, '<span class="muted">1,234 held</span>'),
        (None, 0, '<span class="muted">0</span>'),
    ],
)
def test_what_a_check_cost_or_what_is_held_for_it(charged, price, shown):
    assert credits_of(CandidateCheck(charged=charged, price=price)) == shown
