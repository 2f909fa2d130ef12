"""The two documents that explain the product: held to the code, and shown in the application."""

from __future__ import annotations

import re
import statistics
from decimal import Decimal

import pytest
from django.conf import settings
from django.urls import reverse
from genai_prices.data import providers as price_list

from candidates import scoring
from candidates.credit_costs import CREDIT_COSTS
from candidates.models import CandidateCheck, Requirement, RequirementVerdict
from config.guides import GUIDES, guide
from organizations import clock
from organizations.models import Organization
from providers.catalog import PROVIDERS
from tests.builders import connect_managed_key, write_briefing
from tests.usage.conftest import event
from usage.models import Mode
from usage.price_list import CATALOG_PROVIDERS

Kind, Verdict = CandidateCheck.Kind, RequirementVerdict.Verdict


def text(name: str) -> str:
    """A document in one line."""
    return " ".join((settings.BASE_DIR / "docs" / f"{name}.md").read_text().split())


CHECKS, BYOK = text("candidate-checks"), text("byok")


def credits(count: int) -> str:
    return f"{count} credit{'' if count == 1 else 's'}"


@pytest.mark.parametrize("mode", Mode)
def test_the_prices_are_those_that_are_charged(mode):
    new, recent = CREDIT_COSTS[mode, Kind.NEW], CREDIT_COSTS[mode, Kind.RECENT]

    for document in (CHECKS, " ".join((settings.BASE_DIR / "README.md").read_text().split())):
        assert f"| {mode.label} | {credits(new)} | {credits(recent)} |" in document
    of_both = [CREDIT_COSTS[each, kind] for kind in (Kind.NEW, Kind.RECENT) for each in (Mode.BYOK, Mode.MANAGED)]
    assert (
        "{} for a new candidate check instead of {}, {} for an existing recent one instead of {}".format(*of_both)
        in BYOK
    )


def test_the_windows_are_those_that_can_be_chosen():
    days = Organization.RecencyWindow.values
    default = Organization._meta.get_field("recency_window_days").default

    assert "{}, {} or {} days, {} unless".format(*days, default) in CHECKS


def test_every_status_and_verdict_is_explained():
    for label in (*CandidateCheck.Status.labels, *Verdict.labels):
        assert f"| {label} |" in CHECKS, label
    for label in CandidateCheck.Category.labels:
        assert f"*{label}*" in CHECKS, label


def test_the_thresholds_are_those_of_the_code():
    assert f"*Strong fit* from a score of {scoring.STRONG_FROM}, *possible fit* from {scoring.POSSIBLE_FROM}" in CHECKS
    assert f"({settings.KEYFARE_MANAGED_DAILY_FAILURES} unless they set another)" in CHECKS
    assert f"After {settings.KEYFARE_KEY_ROTATION_DAYS} days" in BYOK


@pytest.mark.django_db
def test_the_examples_come_out_as_they_say(acme):
    products = re.findall(r"(\d+) × (\d+) = (\d+) credits", CHECKS)
    assert len(products) == 5
    for count, price, total in products:
        assert int(count) * int(price) == int(total)
        assert int(price) in CREDIT_COSTS.values()

    briefing = write_briefing(acme, ("Kubernetes", "nice"), ("German", "nice"), ("Kafka", "nice"), ("Python", "must"))
    kubernetes, german, kafka, must = briefing.requirements.order_by("position")
    Requirement.objects.filter(pk=kubernetes.pk).update(weight=3)
    requirements = list(briefing.requirements.order_by("position"))
    nice = {kubernetes.pk: Verdict.MET, german.pk: Verdict.PARTLY, kafka.pk: Verdict.NOT_MET}
    for verdict, category in ((Verdict.MET, "strong"), (Verdict.UNKNOWN, "possible"), (Verdict.NOT_MET, "none")):
        assert scoring.score(requirements, {**nice, must.pk: verdict}) == (70, category)
    assert "so the score is 70." in CHECKS


def test_byok_names_every_provider():
    for provider in PROVIDERS.values():
        assert provider.name.removesuffix(" server") in BYOK or provider.name in BYOK, provider.name


def test_output_is_dearer_than_input_as_it_says():
    for slug in ("openai", "anthropic", "google"):
        (provider,) = [each for each in price_list if each.id == CATALOG_PROVIDERS[slug]]
        prices = [
            model.prices[-1].prices if isinstance(model.prices, list) else model.prices for model in provider.models
        ]
        ratios = [
            price.output_mtok / price.input_mtok
            for price in prices
            if isinstance(price.input_mtok, Decimal) and isinstance(price.output_mtok, Decimal) and price.input_mtok
        ]
        assert 3 <= statistics.median(ratios) <= 6, slug


@pytest.mark.parametrize("name", GUIDES)
def test_a_member_reads_it_in_the_application(as_bob, name):
    answer = as_bob.get(reverse(GUIDES[name], args=["acme"]))
    html = answer.content.decode()

    assert answer.status_code == 200
    assert f"<h1>{guide(name, 'acme')[0]}</h1>" in html
    assert "|" not in re.sub(r"<[^>]+>", "", guide(name, "acme")[1])  # tables became tables
    assert ".md" not in html
    for row in re.findall(r"<tr>(.*?)</tr>", guide(name, "acme")[1], re.DOTALL):
        unnamed = [cell for cell in re.findall(r"<td[^>]*>", row) if "data-th=" not in cell]
        assert len(unnamed) <= 1, row  # on a phone only the first value stands without the name of its column
    for anchor in re.findall(r'href="#([^"]+)"', guide(name, "acme")[1]):
        assert f'id="{anchor}"' in html


def test_links_between_documents_lead_to_pages_here_and_others_are_words():
    _, html = guide("candidate-checks", "acme")

    assert f'<a href="{reverse("guide-byok", args=["acme"])}">BYOK explained</a>' in html
    assert f'<a href="{reverse("guide-api", args=["acme"])}">the API</a>' in html
    _, html = guide("api", "acme")
    assert "How people are matched" in html
    assert "importing" not in html


@pytest.mark.django_db
def test_without_a_managed_key_the_guides_say_that_managed_mode_is_none_here(as_bob, acme, simulated_providers):
    page, sentence = reverse("guide-checks", args=["acme"]), "No managed key works on this installation now"
    assert sentence in as_bob.get(page).content.decode()

    connect_managed_key()

    assert sentence not in as_bob.get(page).content.decode()


def test_anchors_that_pages_link_to_are_there():
    for name, anchor in (
        ("candidate-checks", "what-it-costs"),
        ("candidate-checks", "how-to-read-a-result"),
        ("byok", "where-a-key-is-stored-and-who-can-open-it"),
    ):
        assert f'id="{anchor}"' in guide(name, "acme")[1]


@pytest.mark.django_db
def test_own_figures_stand_beside_it_once_there_are_some(as_bob, acme):
    page = reverse("guide-byok", args=["acme"])
    assert "on your own keys" not in as_bob.get(page).content.decode()

    now = clock.now()
    event(acme, occurred_at=now, uncached_input_tokens=900, cache_read_tokens=100, output_tokens=7)
    event(acme, mode=Mode.MANAGED, occurred_at=now, uncached_input_tokens=5_000_000)

    html = as_bob.get(page).content.decode()
    for words in ("on your own keys", ">1,000<", "100 of them read from a cache", ">7<"):
        assert words in html
    assert "5,00" not in html


def test_pages_about_prices_and_keys_lead_there(as_alice):
    checks, byok = (reverse(f"guide-{name}", args=["acme"]) for name in ("checks", "byok"))

    assert checks in as_alice.get(reverse("credits", args=["acme"])).content.decode()
    assert byok in as_alice.get(reverse("overview", args=["acme"])).content.decode()
    settings_page = as_alice.get(reverse("settings", args=["acme"])).content.decode()
    assert settings_page.partition("<main")[2].count(byok) == len(PROVIDERS) + 1
