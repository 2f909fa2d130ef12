"""However a page is filtered, searched, ordered, paged or asked for as a fragment: nothing of another organization."""

from __future__ import annotations

import pytest

from providers.models import ProviderKey
from tests.conftest import logged_in
from tests.test_urls_and_roles import (
    ABSENT_UUID,
    OF_AN_ORGANIZATION,
    ORGANIZATION_URLS,
    SECRET,
    ask,
    contents,
    seen,
    strangers_own,
    world,
)

__all__ = ["strangers_own", "world"]

QUERIES: tuple[dict[str, str], ...] = (
    {},
    {"q": SECRET},
    {"q": "%"},
    {"search": "a", "provider": "openrouter", "model": "gpt"},
    {"order": "-pk", "sort": "organization", "o": "-organization__name", "ordering": "organization_id"},
    {"page": "0"},
    {"page": "-1"},
    {"page": "9" * 30},
    {"page": "last", "per_page": "100000", "limit": "100000"},
    {"status": "all", "show": "all", "tab": "candidates", "state": "ready", "action": "candidate_check"},
    {"from": "2000-01-01", "to": "2100-01-01"},
    {"format": "csv", "export": "csv", "download": "1"},
    {"organization": "acme", "slug": "acme", "org": "acme"},
)
READ = [url for url in ORGANIZATION_URLS if "GET" in OF_AN_ORGANIZATION[url.name][1]]


@pytest.mark.parametrize("htmx", [False, True], ids=["page", "fragment"])
def test_no_question_of_a_page_brings_rows_of_another_organization(world, strangers_own, charlie, htmx):
    client = logged_in(charlie)
    if htmx:
        client.defaults["HTTP_HX_REQUEST"] = "true"
    theirs = ("@acme.example", "zanzibar@new.example", str(world.ids["key_id"]), str(world.ids["check_id"]))
    for url in READ:
        for query in QUERIES:
            # What the person typed is shown in the field it was typed into.
            said = ask(client, "GET", url.address(strangers_own.ids), query).content.decode()
            own_words = said.replace(f'value="{SECRET}"', "").replace(f"“{SECRET}”", "").replace(f"q={SECRET}", "")
            assert SECRET not in own_words, (url.name, query)
            assert not any(each in said for each in theirs), (url.name, query)


@pytest.mark.parametrize(
    "name", ["routing:remove-key", "providers:replace", "routing:reset", "candidates:briefing-model"]
)
def test_keys_of_another_organization_replace_and_stand_in_for_nothing(world, strangers_own, charlie, name):
    """Removing a key asks for one that serves instead; one of Acme's is as absent."""
    client = logged_in(charlie)
    url = next(url for url in ORGANIZATION_URLS if url.name == name)
    before = contents(world.organization), list(ProviderKey.objects.order_by("pk").values())

    def answer(key_id: object) -> tuple[int, str, list[str], str]:
        names = ("instead", "key", "key_id", "replaces", "fallback", "fallback_key", "candidate_check-key")
        form = {each: str(key_id) for each in names if (name, each) != ("providers:replace", "key")}
        response = ask(client, "POST", url.address(strangers_own.ids), {**form, "model": "openai/gpt-4.1-mini"})
        assert SECRET not in response.content.decode()
        return seen(response, key_id)

    assert answer(world.ids["key_id"]) == answer(ABSENT_UUID)
    assert (contents(world.organization), list(ProviderKey.objects.order_by("pk").values())) == before
