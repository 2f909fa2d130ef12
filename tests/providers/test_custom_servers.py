"""Mistral, Ollama and OpenAI-compatible servers: from the card to a call."""

from __future__ import annotations

import json
import re
import uuid

import pytest
from django.test import Client

from organizations.models import AuditEvent
from providers.adapters.base import ChatRequest, HttpAnswer, Message, ProviderError
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS
from providers.keys.private_endpoints import allow_private_endpoint
from providers.keys.saving import save_provider_key
from providers.models import PrivateEndpoint, ProviderKey
from routing.actions import REQUIREMENT_GENERATION
from routing.resolve import resolve
from routing.services import save_routing
from tests.builders import NOW, PERHAPS_OWN, SERVERS, connect_key, run_call
from tests.providers.test_validation import validated
from usage.models import UsageEvent

Status = ProviderKey.Status
HTMX = {"HX-Request": "true"}
BASE_URL = "https://llm.example.com/v1"
KEY = "sk-canary-0123456789abcdef"
COMPATIBLE = PROVIDERS["openai_compatible"].adapter
OLLAMA = PROVIDERS["ollama"].adapter
MISTRAL = PROVIDERS["mistral"].adapter
ANTHROPIC = PROVIDERS["anthropic_compatible"].adapter
GEMINI = PROVIDERS["gemini_compatible"].adapter
MODELS = {
    "mistral": "mistral-small-latest",
    "ollama": "qwen3:8b",
    "openai_compatible": "Qwen/Qwen3-32B",
    "anthropic_compatible": "zai-org/GLM-4.6",
    "gemini_compatible": "gemma-3-27b-it",
}


def text(response) -> str:
    return response.content.decode()


def save_url(provider: str) -> str:
    return f"/o/acme/settings/keys/{provider}/save/"


# From key to call -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", MODELS)
def test_an_action_runs_on_each_of_the_new_providers(acme, simulated_providers, provider):
    action, model = REQUIREMENT_GENERATION.slug, MODELS[provider]
    key = connect_key(acme, provider)
    save_routing(organization=acme, action=action, key=key, model=model, actor=None)

    result = run_call(
        organization=acme,
        route=resolve(organization=acme, action=action),
        run_id=uuid.uuid4(),
        iteration=1,
        request=ChatRequest(model, "Answer in JSON.", (Message("user", "<job_description>Django</job_description>"),)),
        now=NOW,
    )

    event = UsageEvent.objects.get()
    assert key.status == Status.CONNECTED
    assert "requirements" in result.text
    assert (event.status, event.provider, event.model) == ("answered", provider, model)
    # Ollama charges nothing by the token. What a server of somebody else costs nobody knows; unknown is never zero.
    assert (event.cost_nanousd is None) == (provider in PERHAPS_OWN)
    assert (event.cost_nanousd == 0) == (provider == "ollama")


def test_ollama_is_never_sent_a_key(acme, simulated_providers):
    key = connect_key(acme, "ollama")

    assert (key.status, key.last4) == (Status.CONNECTED, "")
    assert OLLAMA.credential_headers(Secret(KEY)) == {}
    assert OLLAMA.models_call("https://o.example").url == "https://o.example/api/tags"
    call = OLLAMA.chat_call("https://o.example", ChatRequest("m", "", (Message("user", "JSON"),)))
    assert call.url == "https://o.example/v1/chat/completions"
    assert b'"max_tokens"' in (call.body or b"")


def test_a_key_that_the_server_does_not_look_at_is_reported_as_not_checked(acme, simulated_providers, settings):
    settings.KEYFARE_PROVIDER_ORIGINS = {"openai_compatible": f"{simulated_providers.address}/ollama/v1"}

    key = connect_key(acme, "openai_compatible")

    assert key.status == Status.CONNECTED
    assert "the key was not checked" in key.state.detail


def test_a_key_that_the_server_looks_at_is_simply_connected(acme, simulated_providers):
    key = connect_key(acme, "openai_compatible")

    assert (key.status, key.state.detail) == (Status.CONNECTED, "")


def test_a_compatible_server_without_a_key_says_when_it_wants_one(acme, simulated_providers):
    key = save_provider_key(organization=acme, provider="openai_compatible", secret=Secret(""), actor=None, now=NOW)
    key = validated(key)

    assert key.status == Status.INVALID
    assert "expects one" in key.state.detail


# Lists of models ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "ids"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b", "created": None}]}, ["a", "b"]),
        ({"data": [{"id": "a", "permissions": []}], "models": [{"name": "a"}]}, ["a"]),
        ({"models": [{"name": "a"}, {"model": "b"}]}, ["a", "b"]),
        ([{"id": "a", "pricing": {"input": 1}}, {"id": "b"}], ["a", "b"]),
        ({"data": [{"id": "a"}, {"id": "a"}, {"id": ""}, {}, "b", None, 3]}, ["a"]),
        ({"data": []}, []),
        ([], []),
    ],
)
def test_the_oddities_of_model_lists_are_tolerated(listed, ids):
    models = COMPATIBLE.parse_models(HttpAnswer(200, {}, json.dumps(listed).encode()))

    assert [model.id for model in models] == ids


def test_context_sizes_are_read_wherever_servers_put_them():
    rows = [
        {"id": "vllm", "max_model_len": 8192},
        {"id": "groq", "context_window": 8192},
        {"id": "together", "context_length": 8192},
        {"id": "none"},
    ]
    models = COMPATIBLE.parse_models(HttpAnswer(200, {}, json.dumps({"data": rows}).encode()))

    assert [model.context_tokens for model in models] == [8192, 8192, 8192, None]


def test_a_list_without_end_is_cut():
    rows = [{"id": str(number)} for number in range(20_000)]

    assert len(COMPATIBLE.parse_models(HttpAnswer(200, {}, json.dumps(rows).encode()))) == 5_000


@pytest.mark.parametrize("adapter", [COMPATIBLE, OLLAMA])
@pytest.mark.parametrize("body", [b"404 page not found", b'{"detail":"Not Found"}'])
def test_a_wrong_path_is_told_from_a_missing_model(adapter, body):
    with pytest.raises(ProviderError) as refused:
        adapter.parse_models(HttpAnswer(404, {}, body))

    assert "base URL" in str(refused.value)


def test_another_server_is_not_taken_for_ollama():
    with pytest.raises(ProviderError) as refused:
        OLLAMA.parse_models(HttpAnswer(200, {}, b'{"data": [{"id": "a"}]}'))

    assert "no Ollama server" in str(refused.value)


@pytest.mark.parametrize(
    ("adapter", "listed", "model"),
    [
        (ANTHROPIC, {"data": [{"id": "glm", "max_model_len": 8192}]}, ("glm", "glm", 8192)),  # vLLM
        (ANTHROPIC, {"data": [{"id": "c", "display_name": "C", "max_input_tokens": 9}]}, ("c", "C", 9)),
        (GEMINI, {"models": [{"name": "models/g", "displayName": "G", "inputTokenLimit": 9}]}, ("g", "G", 9)),
        (GEMINI, {"models": [{"name": "models/g"}]}, ("g", "g", None)),
        (GEMINI, {"data": [{"id": "g", "object": "model"}]}, ("g", "g", None)),  # LiteLLM
        (
            GEMINI,
            {"models": [{"name": "models/e", "supportedGenerationMethods": ["embedContent"]}, {"name": "models/g"}]},
            ("g", "g", None),
        ),
    ],
)
def test_compatible_servers_list_their_models_as_any_of_these_wires_does(adapter, listed, model):
    (found,) = adapter.parse_models(HttpAnswer(200, {}, json.dumps(listed).encode()))

    assert (found.id, found.name, found.context_tokens) == model


@pytest.mark.parametrize(
    ("adapter", "base_url", "path"),
    [
        (ANTHROPIC, "https://s.example", "/v1/messages"),
        (ANTHROPIC, "https://s.example/v1/acc/anthropic", "/v1/messages"),
        (GEMINI, "https://s.example", "/v1beta/models/m:generateContent"),
        (GEMINI, "https://s.example/v1/acc/google-ai-studio", "/v1beta/models/m:generateContent"),
        (GEMINI, "https://s.example/v1", "/models/m:generateContent"),
        (GEMINI, "https://s.example/v1beta1/publishers/google", "/models/m:generateContent"),
    ],
)
def test_a_base_url_is_the_one_that_the_wires_own_clients_are_given(adapter, base_url, path):
    call = adapter.chat_call(base_url, ChatRequest("m", "", (Message("user", "Hello"),)))

    assert call.url == f"{base_url}{path}"


def test_a_compatible_server_gets_the_key_where_it_may_look_for_it_and_no_header_without_one():
    assert ANTHROPIC.credential_headers(Secret(KEY)) == {"x-api-key": KEY, "authorization": f"Bearer {KEY}"}
    assert GEMINI.credential_headers(Secret(KEY)) == {"x-goog-api-key": KEY}
    assert ANTHROPIC.credential_headers(Secret("")) == GEMINI.credential_headers(Secret("")) == {}


@pytest.mark.parametrize("provider", PERHAPS_OWN)
@pytest.mark.parametrize(("status", "body"), [(404, b'{"detail":"Not Found"}'), (405, b""), (200, b"<!doctype html>")])
def test_where_no_api_is_the_base_url_is_in_doubt_in_words_of_its_protocol(provider, status, body):
    with pytest.raises(ProviderError) as refused:
        PROVIDERS[provider].adapter.parse_chat(HttpAnswer(status, {}, body))

    assert PROVIDERS[provider].name.removesuffix(" server") in str(refused.value)
    assert "base URL" in str(refused.value)


def test_mistral_lists_what_chats_with_its_context_size():
    rows = [
        {"id": "mistral-small-latest", "capabilities": {"completion_chat": True}, "max_context_length": 131072},
        {"id": "mistral-embed", "capabilities": {"completion_chat": False}},
    ]
    (model,) = MISTRAL.parse_models(HttpAnswer(200, {}, json.dumps({"data": rows}).encode()))

    assert (model.id, model.context_tokens) == ("mistral-small-latest", 131072)


# The cards ------------------------------------------------------------------------------------------------


def test_the_cards_ask_for_what_each_provider_needs(as_alice, acme):
    page = text(as_alice.get("/o/acme/settings"))

    def card(slug: str) -> str:
        return page.split(f'<section class="card" id="provider-{slug}"')[1].split("</section>")[0]

    for slug, provider in PROVIDERS.items():
        assert ('name="base_url"' in card(slug)) == (slug in SERVERS), slug
        assert ('name="key"' in card(slug)) == (slug != "ollama"), slug
        assert ("Make a key" in card(slug)) == (slug not in SERVERS), slug
        assert provider.name in card(slug)
    assert "Save server" in card("ollama")
    assert 'placeholder="https://llm.example.com/v1"' in card("openai_compatible")


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize("provider", SERVERS)
def test_a_server_is_saved_with_its_base_url(as_alice, acme, provider, headers):
    posted = {"base_url": " HTTPS://LLM.example.com/v1/ ", "key": KEY}
    response = as_alice.post(save_url(provider), posted, headers=headers, follow=True)

    key = ProviderKey.objects.get()
    # Where the wire itself begins with a version, its own clients are given the base URL without one.
    expected = BASE_URL if provider in ("openai_compatible", "gemini_compatible") else "https://llm.example.com"
    assert response.status_code == 200
    assert (key.base_url, key.origin) == (expected, "https://llm.example.com")
    assert key.last4 == ("" if provider == "ollama" else "cdef")
    assert expected in text(response)
    assert KEY not in text(response)
    assert AuditEvent.objects.get(action="provider_key.saved").details["base_url"] == expected


def test_a_compatible_server_needs_no_key(as_alice, acme):
    as_alice.post(save_url("openai_compatible"), {"base_url": BASE_URL, "key": ""})

    assert ProviderKey.objects.get().base_url == BASE_URL


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "Enter the base URL of the server."),
        ("http://llm.example.com/v1", "has to begin with https://"),
        ("https://10.0.0.1/v1", "not on the internet"),
        ("https://user@llm.example.com/v1", "Leave user name and password out"),
        ("https://llm.example.com:22/v1", "Only port 443"),
        ("https://127.1/v1", "four numbers from 0 to 255"),
        ("what is a base URL?", "Leave out what begins with"),
    ],
)
def test_a_base_url_that_cannot_be_used_is_refused_beside_its_field(as_alice, acme, typed, sentence, headers):
    response = as_alice.post(save_url("openai_compatible"), {"base_url": typed, "key": KEY}, headers=headers)

    page = text(response)
    assert response.status_code == 422
    assert sentence in page
    shown = re.sub(r"user@|[?]", "", typed)  # where secrets stand is not shown again
    assert f'value="{shown}"' in page or not typed, "what was typed is kept"
    assert re.search(r'<input[^>]*name="base_url"[^>]*aria-invalid="true"', page)
    assert KEY not in page
    assert not ProviderKey.objects.exists()


def test_members_and_strangers_name_no_servers(as_bob, as_charlie, acme):
    posted = {"base_url": BASE_URL, "key": KEY}

    assert as_bob.post(save_url("openai_compatible"), posted).status_code == 403
    assert as_charlie.post(save_url("openai_compatible"), posted).status_code == 404
    assert not ProviderKey.objects.exists()


def test_replacing_a_key_starts_from_its_base_url_and_asks_for_the_key_again(as_alice, acme):
    as_alice.post(save_url("openai_compatible"), {"base_url": BASE_URL, "key": KEY})
    key = ProviderKey.objects.get()
    url = f"/o/acme/settings/keys/{key.pk}/replace/"

    page = text(as_alice.get(url))
    as_alice.post(url, {"base_url": "https://other.example.com/v1", "key": "sk-second-0123456789wxyz"})

    key.refresh_from_db()
    assert f'value="{BASE_URL}"' in page
    assert "cdef" not in page.split("<form")[-1].replace("…cdef", "")
    assert (key.base_url, key.origin, key.last4) == (
        "https://other.example.com/v1",
        "https://other.example.com",
        "wxyz",
    )


def test_a_bad_base_url_does_not_replace_anything(as_alice, acme):
    as_alice.post(save_url("openai_compatible"), {"base_url": BASE_URL, "key": KEY})
    key = ProviderKey.objects.get()

    response = as_alice.post(
        f"/o/acme/settings/keys/{key.pk}/replace/", {"base_url": "https://localhost/v1", "key": KEY}, headers=HTMX
    )

    key.refresh_from_db()
    assert response.status_code == 422
    assert (key.base_url, key.secret_version) == (BASE_URL, 1)


def test_the_demo_suggests_the_simulated_server(as_alice, acme, simulated_providers):
    page = text(as_alice.get("/o/acme/settings"))

    assert f'value="{simulated_providers.address}/ollama"' in page


# Staff ----------------------------------------------------------------------------------------------------

ADD = "/admin/providers/privateendpoint/add/"


def allow(as_staff: Client, acme, **facts: str) -> int:
    posted = {"organization": acme.pk, "host": "Ollama.corp.example.com", "port": "11434", "network": "10.1.2.3/32"}
    return as_staff.post(ADD, {**posted, **facts}).status_code


def test_staff_allow_a_private_endpoint(as_staff, staff, acme, as_alice):
    assert as_staff.get(ADD).status_code == 200
    assert allow(as_staff, acme) == 302

    endpoint = PrivateEndpoint.objects.get()
    assert (endpoint.host, endpoint.port, endpoint.network) == ("ollama.corp.example.com", 11434, "10.1.2.3/32")
    assert AuditEvent.objects.get(action="private_endpoint.allowed").actor == staff
    as_alice.post(save_url("ollama"), {"base_url": "http://ollama.corp.example.com:11434"})
    assert ProviderKey.objects.get().origin == "http://ollama.corp.example.com:11434"


@pytest.mark.parametrize(
    "facts", [{"network": "nonsense"}, {"network": "169.254.169.254/32"}, {"host": "127.1"}, {"port": "0"}]
)
def test_staff_read_what_is_wrong_with_an_endpoint(as_staff, acme, facts):
    assert allow(as_staff, acme, **facts) == 200
    assert not PrivateEndpoint.objects.exists()


def test_an_endpoint_is_allowed_once_by_staff_too(as_staff, acme):
    allow(as_staff, acme)

    assert allow(as_staff, acme) == 200
    assert PrivateEndpoint.objects.count() == 1


def test_staff_withdraw_an_endpoint_and_cannot_change_it(as_staff, acme):
    endpoint = allow_private_endpoint(organization=acme, host="10.1.2.3", port=11434, network="10.1.2.3/32", actor=None)
    url = f"/admin/providers/privateendpoint/{endpoint.pk}/"

    assert as_staff.post(f"{url}change/", {"network": "0.0.0.0/0"}).status_code == 403
    as_staff.post(f"{url}delete/", {"post": "yes"})

    assert not PrivateEndpoint.objects.exists()
    assert AuditEvent.objects.filter(action="private_endpoint.withdrawn").exists()


def test_staff_see_where_a_customers_server_is(as_staff, as_alice, acme):
    as_alice.post(save_url("openai_compatible"), {"base_url": BASE_URL, "key": KEY})
    key = ProviderKey.objects.get()

    assert "A server of their own" in text(as_staff.get("/admin/providers/providerkey/"))
    assert BASE_URL in text(as_staff.get(f"/admin/providers/providerkey/{key.pk}/change/"))
