"""
What went wrong in products that keep keys as we do, each as a test that fails if it could happen here.

docs/security.md tells the incidents. Those whose test stands beside the code are named there.
"""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.urls import reverse

from candidates.models import Candidate
from candidates.search import note_words
from organizations.models import Membership, User
from providers.catalog import PROVIDERS
from providers.egress.addresses import PUBLIC
from providers.egress.connections import open_client
from providers.egress.short_calls import client
from providers.models import ProviderKey
from tests.config.test_headers import OWN

ROOT = Path(__file__).resolve().parents[2]
APPS = ["organizations", "usage", "providers", "billing", "routing", "gateway", "candidates", "config"]
KEY = "sk-proj-simulated-valid-0001-incident"

# Where SQL is written by hand. A new place is reviewed, then listed: values travel as parameters only.
HAND_WRITTEN_SQL = {
    "billing/postings.py",
    "candidates/recency.py",
    "config/backups/manifest.py",
    "config/backups/postgresql.py",
    "config/backups/sqlite.py",
    "gateway/change_triggers.py",
    "gateway/changes.py",
    "config/cache.py",  # hands Django's own statements on
    "config/metrics/counting.py",
    "organizations/append_only.py",
    "organizations/clock.py",
    "organizations/database_rights.py",
    "organizations/long_lists.py",
    "organizations/many_rows.py",
    "organizations/one_at_a_time.py",  # locks of a session
    "organizations/one_moment.py",
    "organizations/tenancy.py",
    "usage/cells.py",
    "usage/first_calls.py",
    "usage/kinds.py",
    "usage/measures.py",
    "usage/pruning.py",  # VACUUM, by the name of a model's table
    "usage/rollups.py",
    "usage/self_check.py",
    "providers/custody/shredding.py",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    files = [ROOT / "manage.py", *(path for app in APPS for path in sorted((ROOT / app).rglob("*.py")))]
    for path in files:
        if "migrations" not in path.parts:
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Each call with the last part of the name it calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node


def files_that_call(*names: str) -> set[str]:
    return {file for file, tree in sources() if any(name in names for name, _ in calls(tree))}


# A bearer value pasted into SQL on an error path --------------------------------------------------------------


def test_sql_is_written_by_hand_in_reviewed_files_only():
    assert files_that_call("execute", "executemany", "raw", "RawSQL", "extra") == HAND_WRITTEN_SQL


@pytest.mark.parametrize("query", ["'", "';--", "\\", '"', "x' OR '1'='1", "\x00", "%00"])
def test_sql_in_a_search_finds_nothing_and_breaks_nothing(as_alice, acme, query):
    Candidate.objects.create(organization=acme, name="Maya", external_id="1")

    response = as_alice.get(reverse("candidates:list", args=["acme"]), {"q": f"zzz{query}"})

    assert response.status_code == 200
    assert "Maya" not in response.content.decode().partition("<main")[2]


# Wildcards in a search ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wildcard", ["%", "_", "M%a", "M_ya", "\\", "M*", "^M"])
def test_wildcards_are_ordinary_signs_in_a_search(as_alice, acme, wildcard):
    for number, name in enumerate(("Nils", "Maya", "100% Wanda")):
        person = Candidate.objects.create(organization=acme, name=name, external_id=str(number))
        note_words(organization=acme, candidates=[person], are_new=True)

    found = as_alice.get(reverse("candidates:list", args=["acme"]), {"q": wildcard}).context["found"]

    assert found == (1 if wildcard in ("M*", "^M") else 0)  # of which the letter is left, that begins Maya


def test_a_search_is_cut_to_a_length(as_alice, acme):
    assert len(as_alice.get(reverse("candidates:list", args=["acme"]), {"q": "x" * 5000}).context["query"]) == 200


# The destination in the request -------------------------------------------------------------------------------


def test_the_destination_of_a_key_never_comes_from_the_request(as_alice, acme):
    elsewhere = "https://collector.example/v1"
    names = ("origin", "api_base", "base_url", "url", "endpoint", "host", "proxy", "extra_headers", "organization")

    response = as_alice.post(
        reverse("providers:save", args=["acme", "openai"]),
        {"key": KEY, "label": "Default", "anyway": "on", **dict.fromkeys(names, elsewhere)},
        headers={"X-Forwarded-Host": "collector.example", "X-Base-Url": elsewhere},
    )

    assert response.status_code == 302
    key = ProviderKey.objects.get()
    assert (key.origin, key.organization) == ("https://api.openai.com", acme)
    assert "collector" not in str(ProviderKey.objects.values().get())


def test_built_in_destinations_are_https(settings):
    settings.KEYFARE_PROVIDER_ORIGINS = {}

    for provider in PROVIDERS.values():
        if provider.base_url:  # those with a server of their own have none here
            assert provider.base_url.startswith("https://"), provider.slug


# Fields that nobody meant to be writable ----------------------------------------------------------------------


def test_fields_that_a_form_does_not_show_cannot_be_posted(as_ada, ada, bob, acme):
    before = User.objects.order_by("pk").values_list("pk", "is_staff", "is_superuser", "is_active")
    rights, credits = list(before), {"posted": 1_000_000, "held": 0, "seq": 9}
    extra = {"role": "owner", "is_staff": "on", "is_superuser": "on", "organization": 1, "slug": "x", **credits}

    as_ada.post(reverse("organizations:recency-window", args=["acme"]), {"days": 60, **extra})
    as_ada.post(reverse("providers:save", args=["acme", "openai"]), {"key": KEY, "label": "A", "status": "connected"})
    as_ada.post(reverse("account_email"), {"action_add": "", "email": "x@acme.example", **extra})

    acme.refresh_from_db()
    assert (acme.slug, acme.recency_window_days) == ("acme", 60)
    assert list(before.all()) == rights
    assert Membership.objects.get(user=ada).role == "admin"
    assert not ProviderKey.objects.filter(status="connected").exists()


def test_nothing_that_is_stored_or_sent_is_ever_run_as_code():
    assert files_that_call("eval", "exec", "compile_command", "__import__", "system", "popen") == set()
    imported = {
        (file, alias.name)
        for file, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if {alias.name, getattr(node, "module", "")} & {"pickle", "marshal", "shelve", "dill", "yaml"}
    }
    assert imported == set()


# Keys in caches, shared clients and exceptions ----------------------------------------------------------------


def test_no_key_is_ever_in_the_cache_or_the_session(as_alice, acme, monkeypatch):
    kept: list[str] = []

    def watched(plain: Callable[..., Any]) -> Callable[..., Any]:
        def write(*given: Any, **named: Any) -> Any:
            kept.append(repr((given, named)))
            return plain(*given, **named)

        return write

    for name in ("set", "add", "get_or_set", "set_many"):
        monkeypatch.setattr(cache, name, watched(getattr(cache, name)))

    as_alice.post(reverse("providers:save", args=["acme", "openai"]), {"key": KEY, "label": "A", "anyway": "on"})
    as_alice.post(reverse("providers:save", args=["acme", "openai"]), {"key": f"{KEY} x", "label": "B"})
    as_alice.get(reverse("settings", args=["acme"]))

    kept += [repr(session.get_decoded()) for session in Session.objects.all()]
    assert ProviderKey.objects.count() == 1
    assert kept
    assert KEY not in "".join(kept)


def test_our_code_keeps_nothing_in_a_cache_by_a_name_that_could_collide():
    """A cache keyed by the first characters of a token once let one user in as another."""
    importing = {
        file
        for file, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "django.core.cache"
    }

    assert importing == set()


def test_the_shared_client_holds_no_key():
    async def headers_of_client() -> dict[str, str]:
        async with open_client() as egress:
            return {**egress.session(PUBLIC).headers, **client(egress, PUBLIC).headers}

    names = {name.lower() for name in asyncio.run(headers_of_client())}
    assert not names & {"authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"}


def test_a_key_is_opened_only_where_a_header_is_built():
    elsewhere = {file for file in files_that_call("reveal") if not file.startswith("providers/adapters/")} - {
        "providers/custody/sealing.py"
    }

    assert elsewhere == set()


def test_all_outgoing_calls_leave_through_one_room():
    """Else its deadline, byte budget, refusal of redirects and of proxies would be skipped."""
    makers = {
        "AsyncClient",
        "Client",
        "ClientSession",
        "urlopen",
        "HTTPConnection",
        "HTTPSConnection",
        "AsyncHTTPTransport",
    }
    outside = {file for file in files_that_call(*makers) if not file.startswith("simulator/")}

    assert outside <= {
        "providers/egress/connections.py",
        "providers/egress/short_calls.py",
        "config/management/commands/demo.py",
        "config/demo_agents.py",  # a client of the gateway
    }


# Supply chain -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["base", "dev"])
def test_every_requirement_is_pinned_with_its_hash(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]

    assert lines
    for line in lines:
        assert "==" in line, line
        assert "--hash=sha256:" in line, line
        assert not re.match(r"litellm\b", line), "its published packages stole credentials in March 2026"


def test_installing_never_skips_the_hashes():
    for file in ("Makefile", "README.md", "docs/operations.md"):
        for line in (ROOT / file).read_text().splitlines():
            if "pip install" in line:
                assert "--require-hashes" in line, (file, line)


# Authentication without authorisation -------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in OWN if path.startswith("/o/acme/")])
def test_every_address_of_an_organization_is_closed_to_strangers(client, as_charlie, acme, path):
    for method in ("get", "post"):
        anonymous, stranger = getattr(client, method)(path), getattr(as_charlie, method)(path)

        assert anonymous.status_code == 302
        assert anonymous["Location"].startswith("/accounts/login/")
        assert stranger.status_code == 404


# Text of others in our pages ----------------------------------------------------------------------------------


def test_no_template_marks_text_of_others_as_safe():
    """`help_text` is our own. Names of models, errors of providers and profiles are always escaped."""
    marked = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "templates").rglob("*.html")
        if re.search(r"\|\s*safe\b|autoescape\s+off|\|\s*safeseq\b", path.read_text())
    }

    assert marked <= {"templates/_field_notes.html"}
    # Django's page of a crash, of which nothing is shown in production; documents of ours, in which HTML is escaped;
    # pictures of the package of icons.
    ours = {"config/error_report.py", "config/guides.py", "config/templatetags/icons.py"}
    assert files_that_call("mark_safe") <= ours


def test_a_name_of_a_model_or_person_is_text_and_not_html(as_alice, acme):
    Candidate.objects.create(organization=acme, name="<script src=x></script>", external_id="1")

    page = as_alice.get(reverse("candidates:list", args=["acme"])).content.decode()

    assert "<script src=x>" not in page
    assert "&lt;script src=x&gt;" in page


def test_the_session_is_new_after_the_login(client, alice):
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    client.get("/accounts/login/")
    session = client.session
    session["planted"] = "by somebody else"
    session.save()
    client.cookies[django_settings.SESSION_COOKIE_NAME] = session.session_key

    client.post("/accounts/login/", {"login": alice.email, "password": "correct horse battery"})

    assert client.session["_auth_user_id"] == str(alice.pk)
    assert client.session.session_key != session.session_key
    assert not Session.objects.filter(pk=session.session_key).exists()
