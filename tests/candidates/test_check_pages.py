"""Choosing people, the price before anything runs, progress, results, and checking again."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from billing.ledger import balance
from candidates import failures
from candidates.acceptance import accept_checks
from candidates.check_endings import fail_check
from candidates.models import Candidate, CandidateCheck, RequirementVerdict
from candidates.search import note_words
from candidates.worker import run_pending_checks
from providers.models import ProviderKey
from tests.builders import (
    checked_before,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)

pytestmark = pytest.mark.usefixtures("simulated_providers")
HTMX = {"HX-Request": "true"}
DJANGO = "Builds Django services on PostgreSQL."
UNREADABLE = "Builds Django services. [[simulate-unparsable]]"


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"), ("PostgreSQL", "nice"), title="Backend engineer")


@pytest.fixture
def managed(db):
    return connect_managed_key()


def url(name: str, *args, slug: str = "acme", query: str = "") -> str:
    return reverse(f"candidates:{name}", args=[slug, *args]) + query


def words(answer) -> str:
    """What the page says, without tags and line breaks."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def hidden(answer, name: str) -> str:
    (value,) = set(re.findall(rf'name="{name}" value="([^"]*)"', answer.content.decode()))
    return str(value)


def ticking(*people, **fields) -> dict[str, object]:
    return {"candidates": [person.pk for person in people], **fields}


def start(briefing, *people) -> list[CandidateCheck]:
    return accept_checks(
        organization=briefing.organization, briefing=briefing, candidates=people, actor=None, now=timezone.now()
    ).checks


def checked(briefing, *people) -> list[CandidateCheck]:
    rows = start(briefing, *people)
    run_pending_checks(organization_id=briefing.organization_id)
    return [CandidateCheck.objects.get(pk=row.pk) for row in rows]


# Before anything runs -------------------------------------------------------------------------------


def test_nobody_is_selected_at_first_and_the_button_is_there(as_bob, acme, managed, briefing):
    give_credits(acme, 96)
    import_people(acme, DJANGO, DJANGO)

    answer = as_bob.get(url("briefing", briefing.pk, query="?tab=candidates"))

    assert "Nobody is selected." in words(answer)
    assert "Check the selected" in words(answer)
    assert "Everybody in this list: 2 people" in words(answer)
    assert (hidden(answer, "agreed"), hidden(answer, "count")) == ("0", "0")
    ticked = re.findall(r"<input[^>]* checked[^>]*>", answer.content.decode())
    assert len(ticked) == 1
    assert 'value="ticked"' in ticked[0]


def test_the_cost_of_everybody_not_yet_checked_stands_beside_the_button(as_bob, acme, managed, briefing):
    give_credits(acme, 96)
    people = import_people(acme, *[DJANGO] * 15)
    checked_before(*people[:3], at=timezone.now())

    answer = as_bob.post(url("quote", briefing.pk), {"who": "listed"}, headers=HTMX)

    assert "12 new × 4 + 3 recent × 2 = 54 credits , you have 96. Managed mode." in words(answer)
    assert "Check the 15 selected" in words(answer)
    assert (hidden(answer, "agreed"), hidden(answer, "count")) == ("54", "15")


def test_the_cost_follows_the_selection(as_bob, acme, managed, briefing):
    give_credits(acme, 96)
    people = import_people(acme, *[DJANGO] * 4)

    answer = as_bob.post(url("quote", briefing.pk), ticking(*people[:2]), headers=HTMX)

    assert "2 new × 4 = 8 credits" in words(answer)
    assert "<html" not in answer.content.decode()


def test_checks_start_for_the_agreed_price(as_bob, acme, bob, managed, briefing):
    give_credits(acme, 10)
    people = import_people(acme, DJANGO, DJANGO)

    answer = as_bob.post(url("run", briefing.pk), ticking(*people, agreed=8, count=2), follow=True)

    assert "2 checks started." in words(answer)
    assert "0 of 2 checks done" in words(answer)
    assert CandidateCheck.objects.filter(created_by=bob, status="pending").count() == 2
    assert balance(organization=acme).held == 8


def test_the_page_itself_posts_what_starts_everybody(as_bob, acme, managed, briefing):
    give_credits(acme, 10)
    import_people(acme, DJANGO, DJANGO)
    page = as_bob.get(url("briefing", briefing.pk, query="?tab=candidates"))
    sent = {
        name: re.findall(rf'name="{name}" value="(\d+)"', page.content.decode())
        for name in ("shown", "candidates", "agreed", "count")
    }

    as_bob.post(url("run", briefing.pk), {**sent, "agreed": "8", "count": "2"})

    assert CandidateCheck.objects.count() == 2


@pytest.mark.parametrize("sent", [{}, {"agreed": "8"}, {"agreed": "8", "count": "1"}, {"agreed": "x", "count": "2"}])
def test_without_javascript_a_changed_selection_is_confirmed_first(as_bob, acme, managed, briefing, sent):
    give_credits(acme, 10)
    people = import_people(acme, DJANGO, DJANGO)

    answer = as_bob.post(url("run", briefing.pk), ticking(*people, **sent))

    assert answer.status_code == 200
    assert "Nothing has started yet." in words(answer)
    assert "2 new × 4 = 8 credits" in words(answer)
    assert not CandidateCheck.objects.exists()
    fields = {
        name: re.findall(rf'name="{name}" value="(\d+)"', answer.content.decode())
        for name in ("agreed", "count", "candidates")
    }
    as_bob.post(url("run", briefing.pk), fields)
    assert CandidateCheck.objects.count() == 2


def test_a_price_that_rose_is_asked_for_again_and_nothing_starts(as_bob, acme, managed, briefing):
    give_credits(acme, 10)
    people = import_people(acme, DJANGO, DJANGO)

    answer = as_bob.post(url("run", briefing.pk), ticking(*people, agreed=4, count=2))

    assert answer.status_code == 422
    assert "cost 8 credits instead of 4" in words(answer)
    assert hidden(answer, "agreed") == "8"
    assert not CandidateCheck.objects.exists()


def test_a_price_that_fell_is_charged_as_it_is_now(as_bob, acme, managed, briefing):
    give_credits(acme, 10)
    people = import_people(acme, DJANGO)
    checked_before(people[0], at=timezone.now())

    as_bob.post(url("run", briefing.pk), ticking(*people, agreed=4, count=1))

    assert briefing.checks.get().price == 2


def test_too_few_credits_are_said_before_and_nothing_starts(as_bob, acme, managed, briefing):
    give_credits(acme, 7)
    people = import_people(acme, DJANGO, DJANGO)

    page = as_bob.post(url("quote", briefing.pk), ticking(*people), headers=HTMX)
    answer = as_bob.post(url("run", briefing.pk), ticking(*people, agreed=8, count=2))

    assert "1 credit too few" in words(page)
    assert reverse("credits", args=["acme"]) in page.content.decode()
    assert "Check the 2 selected" in words(page)
    assert answer.status_code == 422
    assert "only 7 are available" in words(answer)
    assert not CandidateCheck.objects.exists()
    assert balance(organization=acme).held == 0


def test_without_a_working_route_the_page_says_what_to_do(as_bob, acme, managed, briefing):
    give_credits(acme, 10)
    people = import_people(acme, DJANGO)
    ProviderKey.objects.update(status="invalid")

    page = as_bob.get(url("briefing", briefing.pk, query="?tab=candidates"))
    answer = as_bob.post(url("run", briefing.pk), ticking(*people, agreed=4, count=1))

    for shown in (page, answer):
        assert "No model serves" in words(shown)
        assert "/o/acme/settings#llm-" in shown.content.decode()
        assert "Managed mode" not in words(shown)
    assert answer.status_code == 422
    assert not CandidateCheck.objects.exists()


def test_nobody_selected_is_said(as_bob, acme, managed, briefing):
    import_people(acme, DJANGO)

    answer = as_bob.post(url("run", briefing.pk), {"candidates": ["x", "-1", "99999999999", "5" * 400]})

    assert answer.status_code == 422
    assert "Tick at least one person." in words(answer)


def test_people_of_another_organization_cannot_be_selected(as_bob, acme, globex, managed, briefing):
    give_credits(acme, 10)
    (stranger,) = import_people(globex, DJANGO)

    answer = as_bob.post(url("run", briefing.pk), ticking(stranger, agreed=4, count=1))

    assert answer.status_code == 422
    assert not CandidateCheck.objects.exists()


def test_a_briefing_without_requirements_starts_nothing(as_bob, acme, managed):
    give_credits(acme, 10)
    empty = write_briefing(acme)
    people = import_people(acme, DJANGO)

    answer = as_bob.post(url("run", empty.pk), ticking(*people, agreed=4, count=1))

    assert answer.status_code == 422
    assert "no requirements yet" in words(answer)


def test_others_on_other_pages_can_be_included_left_out_and_cut(as_bob, acme, managed, briefing):
    give_credits(acme, 1000)
    people = import_people(acme, *[DJANGO] * 105)
    page = as_bob.get(url("briefing", briefing.pk, query="?tab=candidates"))
    shown = re.findall(r'name="shown" value="(\d+)"', page.content.decode())
    assert "also the 5 other people of this list" in words(page)
    assert "Everybody in this list: 105 people" in words(page)

    def count(**sent) -> str:
        answer = as_bob.post(url("quote", briefing.pk), {"shown": shown, **sent}, headers=HTMX)
        return words(answer).split(" new")[0]

    assert count(candidates=shown, others="on") == "105"
    assert count(candidates=shown[:98], others="on") == "103"
    assert count(candidates=shown[:98]) == "98"
    assert count(candidates=[], others="on") == "5"
    assert count(candidates=shown, others="on", first="7") == "7"
    assert count(who="listed") == "105"
    assert count(candidates=shown[:3], who="listed", first="1 0").startswith("What it costs")
    assert count(candidates=shown[:3], who="listed", first="12") == "12"
    assert len(people) == 105


def test_the_picker_searches_and_shows_who_was_checked(as_bob, acme, managed, briefing):
    give_credits(acme, 10)
    jane, joe = import_people(acme, DJANGO, DJANGO)
    jane.name, joe.name = "Jane Doe", "Joe Bloggs"
    Candidate.objects.bulk_update([jane, joe], ["name"])
    note_words(organization=acme, candidates=[jane, joe])
    checked(briefing, jane)

    def names(query: str) -> tuple[bool, bool]:
        page = words(as_bob.get(url("briefing", briefing.pk, query=f"?tab=candidates{query}")))
        return "Jane Doe" in page, "Joe Bloggs" in page

    assert names("") == (False, True)
    assert names("&show=checked") == (True, False)
    assert names("&show=all") == (True, True)
    assert names("&show=all&q=jane") == (True, False)
    assert names("&q=nobody%00") == (False, False)
    assert names("&show=bogus") == (False, True)


def test_who_failed_can_be_selected_again(as_bob, acme, managed, briefing):
    give_credits(acme, 10)
    (jane,) = import_people(acme, UNREADABLE)
    assert checked(briefing, jane)[0].status == "failed"

    page = as_bob.get(url("briefing", briefing.pk, query="?tab=candidates&who=listed"))

    assert "1 new × 4 = 4 credits" in words(page)


def test_large_numbers_reach_the_server_without_separators(as_bob, acme, managed, briefing):
    give_credits(acme, 20_000)
    Candidate.objects.create(pk=1_234_567, organization=acme, name="Jane")

    page = as_bob.get(url("briefing", briefing.pk, query="?tab=candidates")).content.decode()

    assert 'value="1234567"' in page
    assert "1,234,567" not in page


def test_empty_states_tell_what_to_do(as_bob, acme, managed, briefing):
    page = as_bob.get(url("briefing", briefing.pk, query="?tab=candidates"))
    assert "No candidates yet" in words(page)
    assert "Nobody checked yet" in words(as_bob.get(url("briefing", briefing.pk, query="?tab=results")))

    give_credits(acme, 10)
    checked(briefing, *import_people(acme, DJANGO))
    assert "Everybody is checked" in words(as_bob.get(url("briefing", briefing.pk, query="?tab=candidates")))


@pytest.mark.parametrize("name", ["run", "quote"])
def test_starting_needs_membership_and_a_post(as_bob, as_charlie, briefing, name):
    assert as_charlie.post(url(name, briefing.pk)).status_code == 404
    assert as_bob.get(url(name, briefing.pk)).status_code == 405


# Progress and results -------------------------------------------------------------------------------


def test_progress_polls_only_while_something_runs(as_bob, acme, managed, briefing):
    give_credits(acme, 20)
    people = import_people(acme, DJANGO, UNREADABLE)
    start(briefing, *people)

    running = as_bob.get(url("progress", briefing.pk), headers=HTMX)
    run_pending_checks(organization_id=acme.pk)
    done = as_bob.get(url("progress", briefing.pk), headers=HTMX)

    assert "0 of 2 checks done" in words(running)
    assert "2 pending" in words(running)
    assert 'hx-trigger="every 2s"' in running.content.decode()
    assert "<progress" in running.content.decode()
    assert "1 completed" in words(done)
    assert "1 failed" in words(done)
    assert "every 2s" not in done.content.decode()
    assert "<html" not in done.content.decode()


def test_without_htmx_progress_leads_to_the_page(as_bob, as_charlie, briefing):
    assert as_bob.get(url("progress", briefing.pk)).url == url("briefing", briefing.pk, query="?tab=results")
    assert as_charlie.get(url("progress", briefing.pk)).status_code == 404


def test_a_second_batch_has_a_bar_of_its_own(as_bob, acme, managed, briefing):
    give_credits(acme, 40)
    people = import_people(acme, DJANGO, DJANGO, DJANGO)
    checked(briefing, *people[:2])
    start(briefing, people[2])

    assert "0 of 1 checks done" in words(as_bob.get(url("progress", briefing.pk), headers=HTMX))


def test_results_are_sorted_by_category_then_score_one_row_a_person(as_bob, acme, managed, briefing):
    give_credits(acme, 100)
    people = import_people(acme, *[DJANGO] * 5)
    for number, (person, row) in enumerate(zip(people, checked(briefing, *people), strict=True)):
        category, score = [("none", 90), ("possible", 50), ("strong", 80), ("possible", 60), ("strong", 95)][number]
        CandidateCheck.objects.filter(pk=row.pk).update(category=category, score=score)
        Candidate.objects.filter(pk=person.pk).update(name=f"{category}-{score}")
    again = checked(briefing, people[0])[0]
    CandidateCheck.objects.filter(pk=again.pk).update(category="none", score=10)

    page = as_bob.get(url("briefing", briefing.pk)).content.decode()

    names = re.findall(r'id="check-[^>]+>([^<]+)</a>', page)
    assert names == ["strong-95", "strong-80", "possible-60", "possible-50", "none-90"]
    assert str(again.pk) in page


def test_a_failed_second_check_does_not_hide_the_result(as_bob, acme, managed, briefing):
    give_credits(acme, 100)
    (person,) = import_people(acme, DJANGO)
    (first,), (second,) = checked(briefing, person), start(briefing, person)
    fail_check(second, failures.INTERRUPTED, timezone.now())

    page = as_bob.get(url("briefing", briefing.pk)).content.decode()

    assert str(first.pk) in page
    assert str(second.pk) not in page


# One check ------------------------------------------------------------------------------------------


def test_a_managed_result_shows_evidence_credits_and_who_paid_but_no_usd(as_bob, acme, managed, briefing, settings):
    give_credits(acme, 10)
    (row,) = checked(briefing, *import_people(acme, DJANGO))

    answer = as_bob.get(url("check", row.pk))
    page = words(answer)

    quote = RequirementVerdict.objects.filter(check_row=row)[0].quote
    assert quote in page
    assert "Strong fit" in page
    assert "4 charged" in page
    assert "The operator of this installation (Managed)" in page
    assert "openai/gpt-4.1-mini" in page
    assert "USD" not in page
    assert f"run={row.run_id}" in answer.content.decode()
    assert "Check again for 2 credits" in page
    settings.KEYFARE_SHOW_MANAGED_USD = True
    assert "USD" in words(as_bob.get(url("check", row.pk)))


def test_a_byok_result_shows_its_usd_and_the_key(as_bob, acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 1)
    (row,) = checked(briefing, *import_people(acme, DJANGO))

    page = words(as_bob.get(url("check", row.pk)))

    assert "USD" in page
    assert "with its own key (BYOK)" in page
    assert "OpenRouter" in page
    assert "Check again for 0 credits" in page


def test_a_running_check_polls_and_a_failed_one_says_why_and_that_it_was_free(as_bob, acme, managed, briefing):
    give_credits(acme, 10)
    (row,) = start(briefing, *import_people(acme, UNREADABLE))

    page = as_bob.get(url("check", row.pk))
    assert 'hx-trigger="every 2s"' in page.content.decode()
    assert "4 held" in words(page)
    run_pending_checks(organization_id=acme.pk)
    fragment = as_bob.get(url("check", row.pk), headers=HTMX)

    assert "<html" not in fragment.content.decode()
    assert "every 2s" not in fragment.content.decode()
    assert "This check failed." in words(fragment)
    assert "No credits were charged." in words(fragment)
    assert "$" not in words(fragment)
    assert "could not be read" in words(fragment)
    assert "0 charged" in words(fragment)


def test_checking_again_takes_the_shown_price_and_opens_the_new_check(as_bob, acme, managed, briefing):
    give_credits(acme, 10)
    (row,) = checked(briefing, *import_people(acme, DJANGO))

    answer = as_bob.post(url("check-again", row.pk), {"agreed": "2"})

    again = CandidateCheck.objects.exclude(pk=row.pk).get()
    assert answer.url == url("check", again.pk)
    assert (again.price, again.kind, again.candidate) == (2, "recent", row.candidate)
    assert as_bob.post(url("check-again", row.pk), {"agreed": "2"}).url == url("check", again.pk)
    assert CandidateCheck.objects.count() == 2


@pytest.mark.parametrize("agreed", ["1", "", "x", "-2"])
def test_checking_again_for_more_than_agreed_starts_nothing(as_bob, acme, managed, briefing, agreed):
    give_credits(acme, 10)
    (row,) = checked(briefing, *import_people(acme, DJANGO))

    answer = as_bob.post(url("check-again", row.pk), {"agreed": agreed})

    assert answer.status_code == 422
    assert "cost 2 credits" in words(answer)
    assert CandidateCheck.objects.count() == 1


def test_checking_again_without_credits_says_so(as_bob, acme, managed, briefing):
    give_credits(acme, 5)
    (row,) = checked(briefing, *import_people(acme, DJANGO))

    answer = as_bob.post(url("check-again", row.pk), {"agreed": "2"})

    assert answer.status_code == 422
    assert "only 1 is available" in words(answer)


def test_checks_are_private_to_their_organization(as_bob, as_charlie, acme, globex, managed, briefing):
    give_credits(acme, 10)
    (row,) = checked(briefing, *import_people(acme, DJANGO))

    for slug in ("acme", "globex"):
        assert as_charlie.get(url("check", row.pk, slug=slug)).status_code == 404
        assert as_charlie.post(url("check-again", row.pk, slug=slug)).status_code == 404
    assert as_bob.get(url("check-again", row.pk)).status_code == 405
    assert as_bob.post(url("check", row.pk)).status_code == 405
