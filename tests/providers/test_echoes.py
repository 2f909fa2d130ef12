"""A key that a provider writes back is kept nowhere; a key in a field that is kept readable is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from django.http import QueryDict

from organizations.models import AuditEvent
from providers.adapters.base import HttpAnswer
from providers.adapters.reading import read_json
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS
from providers.egress.echoes import Echoes
from providers.forms import AddKeyForm
from providers.keys.destinations import BaseUrlRefused, normalized_base_url
from providers.keys.saving import save_provider_key, type_proof_model
from providers.keys.validation import validate_key
from providers.models import AvailableModel, KeyValidation, PrivateEndpoint, ProviderKey
from routing.models import RoutingRule
from tests.builders import NOW
from tests.providers.stub_server import ANSWERED, Stub, serving
from usage.models import UsageEvent

# Without a prefix that tells, as Mistral's are.
KEY = "q7Zt0canary4Vb9Xk2Lm8Pw5Rd1Ns6Hy3"
HEADERS = {"authorization": f"Bearer {KEY}"}
BASE_URL = "https://llm.example.com/v1"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def stub(settings) -> Iterator[Stub]:
    with serving(Stub()) as stub:
        settings.KEYFARE_PROVIDER_ORIGINS = {"openai_compatible": f"{stub.address}/v1"}
        yield stub


def without_echoes(
    body: bytes, headers: dict[str, str], *, credential_headers: dict[str, str]
) -> tuple[bytes, dict[str, str]]:
    echoes = Echoes(credential_headers)
    return echoes.out_of(body), echoes.out_of_headers(headers)


@pytest.mark.parametrize(
    "echo",
    [KEY, f"req_{KEY}", KEY[:20], KEY[5:25], "".join(f"\\u{ord(sign):04x}" for sign in KEY)],
)
def test_an_echoed_key_is_crossed_out_wherever_it_stands(echo):
    body = f'{{"id": "{echo}", "model": "gpt-4o"}}'.encode()

    crossed_out, headers = without_echoes(body, {"x-request-id": echo, "a": "b"}, credential_headers=HEADERS)

    content = json.loads(crossed_out)
    assert content["model"] == "gpt-4o"
    assert not any(KEY[at : at + 8] in content["id"] for at in range(len(KEY) - 7))
    assert "canary" not in headers["x-request-id"] or "\\u" in echo
    assert headers["a"] == "b"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_an_answer_in_an_encoding_in_which_no_key_would_be_found_is_not_read(encoding):
    assert read_json(json.dumps({"id": KEY}).encode(encoding)) is None
    assert read_json(json.dumps({"id": "é"}, ensure_ascii=False).encode("utf-8-sig")) == {"id": "é"}


def test_what_is_no_key_stays_as_it_was():
    body = json.dumps(
        {"text": "sk-ant-api03- begins many keys, and \\u0041 \\\\u0041 is no key", "q": KEY[:11]}
    ).encode()

    kept, _ = without_echoes(body, {}, credential_headers={"x-api-key": "sk-ant-api03-0123456789abcdefghij"})

    assert kept == body


def test_a_server_that_repeats_a_part_of_the_key_for_megabytes_keeps_nobody_waiting():
    body = (KEY[3:16].encode() + b" ") * 500_000
    started = time.perf_counter()

    crossed_out, _ = without_echoes(body, {}, credential_headers=HEADERS)

    assert crossed_out == b"**** " * 500_000
    assert time.perf_counter() - started < 5  # 0.5 seconds; it was minutes


def test_a_short_key_is_crossed_out_only_where_it_is_the_whole_text():
    body = b'{"model": "EMPTY", "text": "an EMPTY glass"}'

    kept, headers = without_echoes(
        body, {"x-request-id": "EMPTY"}, credential_headers={"authorization": "Bearer EMPTY"}
    )

    assert json.loads(kept) == {"model": "****", "text": "an EMPTY glass"}
    assert headers == {"x-request-id": "****"}


def test_a_server_that_echoes_its_key_everywhere_gets_it_stored_nowhere(acme, stub):
    stub.headers = {"x-request-id": KEY}
    answer = {**ANSWERED[1], "id": KEY, "model": f"m-{KEY[:16]}", "service_tier": KEY}  # type: ignore[dict-item]
    stub.answers |= {
        "/v1/models": (200, {"data": [{"id": f"{KEY[:18]}", "display_name": KEY}, {"id": "m"}]}),
        "/v1/chat/completions": (200, answer),
    }
    key = save_provider_key(organization=acme, provider="openai_compatible", secret=Secret(KEY), actor=None, now=NOW)
    type_proof_model(key=key, model="m", actor=None)
    for must_prove in (False, True):
        ProviderKey.objects.update(must_prove_by_call=must_prove)
        waiting = KeyValidation.objects.create(organization=acme, key=key, secret_version=1, requested_at=NOW)
        validate_key(validation_id=waiting.pk, now=NOW)

    event = UsageEvent.objects.get()
    rows = [*AvailableModel.objects.values(), *ProviderKey.objects.values(), *KeyValidation.objects.values()]
    kept = f"{event.__dict__} {rows}"
    assert not any(KEY[at : at + 12] in kept for at in range(len(KEY) - 11))


@pytest.mark.parametrize("slug", PROVIDERS)
def test_another_key_in_an_id_is_not_taken_over(slug):
    other = "sk-proj-canary-0123456789"
    headers = {"x-request-id": other, "request-id": other, "x-generation-id": other}
    adapter = PROVIDERS[slug].adapter

    assert adapter.request_id(HttpAnswer(200, headers, b""), other) == ""


# Fields that are kept readable ------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize(
    "label",
    [
        "sk-proj-canary-0123456789",
        "My key sk-or-v1-canary0123456789abcdef",
        "AIzaSyCanary0123456789",
        KEY,
        "sk%2Dproj%2Dcanary-0123456789",
        "sk\u2011proj\u2011canary\u20110123456789",  # with dashes that do not break
        "sk\u2013proj\u2013canary\u20130123456789",
        "s\u200bk-pro\u00adj-canary-0123456789",
        "\uff53\uff4b-proj-canary-0123456789",
        "q7Zt0canary4Vb9Xk2Lm8Pw5Rd1Ns6Hy3" * 4,  # longer than a label may be
        "0canary0-1234-4567-89ab-0123456789ab".replace("canary0", "0000000"),
    ],
)
def test_a_key_in_the_label_is_refused_and_not_shown_again(as_alice, acme, label, headers):
    response = as_alice.post(
        "/o/acme/settings/keys/openai/save/", {"label": label, "key": "sk-proj-another-0123456789"}, headers=headers
    )

    page = response.content.decode()
    assert response.status_code == 422
    assert "looks like a key" in page
    assert label not in page
    assert "canary" not in page
    assert not ProviderKey.objects.exists()
    assert not AuditEvent.objects.filter(action="provider_key.saved").exists()


def test_the_pasted_key_itself_is_no_label(as_alice, acme):
    plain = "just-words-that-are-a-key"

    page = as_alice.post("/o/acme/settings/keys/openai/save/", {"label": f"Key {plain}", "key": plain})

    assert page.status_code == 422
    assert "words-that" not in page.content.decode()


def test_a_saved_key_is_no_label_of_another(as_alice, acme):
    plain = "just-words-that-are-a-key"
    save_provider_key(organization=acme, provider="openai", secret=Secret(plain), actor=None, now=NOW)

    page = as_alice.post("/o/acme/settings/keys/mistral/save/", {"label": plain, "key": "a-key-of-mistral"})

    assert page.status_code == 422
    assert plain not in page.content.decode()


@pytest.mark.parametrize("label", ["Production-key-2026-recruiting", "EU team (Berlin), shared 2026", "gpt-5 only"])
def test_ordinary_labels_are_taken(as_alice, acme, label):
    as_alice.post("/o/acme/settings/keys/openai/save/", {"label": label, "key": "sk-proj-another-0123456789"})

    assert ProviderKey.objects.get().label == label


@pytest.mark.parametrize(
    "base_url",
    [
        "https://llm.example.com/sk-proj-canary-0123456789/v1",
        f"https://llm.example.com/{KEY}/v1",
        "https://sk-proj-canary-0123456789.example.com/v1",
        "https://llm.example.com/v1?api-key=canary",
        "https://alice:canary@llm.example.com/v1",
        "https://llm.example.com/v1#canary",
        "llm.example.com/v1?key=canary@x",
    ],
)
@pytest.mark.parametrize("path", ["openai_compatible/save", "anthropic_compatible/save", "{key}/replace"])
def test_a_secret_in_a_base_url_is_refused_and_not_shown_again(as_alice, acme, base_url, path):
    key = save_provider_key(
        organization=acme,
        provider="openai_compatible",
        secret=Secret("a-key-of-the-server"),
        base_url=BASE_URL,
        actor=None,
        now=NOW,
    )

    response = as_alice.post(
        f"/o/acme/settings/keys/{path.format(key=key.pk)}/",
        {"label": "Two", "base_url": base_url, "key": "another-key-of-it"},
    )

    assert response.status_code == 422
    assert "canary" not in response.content.decode()
    assert ProviderKey.objects.get().base_url == BASE_URL


@pytest.mark.parametrize(
    "path", ["accounts/0123456789abcdef0123456789abcdef/ai/v1", "v2/vllm-abc123def456gh/openai/v1"]
)
def test_ids_of_accounts_in_a_base_url_are_taken(acme, path, as_alice):
    base_url = f"https://llm.example.com/{path}"

    as_alice.post("/o/acme/settings/keys/openai_compatible/save/", {"base_url": base_url, "key": ""})

    assert ProviderKey.objects.get().base_url == base_url


@pytest.mark.parametrize("key", ["sk-1234", "EMPTY", "x"])
def test_a_server_of_ones_own_may_have_a_short_key(as_alice, acme, key):
    as_alice.post("/o/acme/settings/keys/openai_compatible/save/", {"base_url": BASE_URL, "key": key})

    assert ProviderKey.objects.get().last4 == ""


def test_the_key_of_a_provider_is_never_that_short(as_alice, acme):
    assert as_alice.post("/o/acme/settings/keys/openai/save/", {"key": "sk-1234"}).status_code == 422


@pytest.mark.parametrize("field", ["host", "network"])
def test_staff_cannot_write_a_key_into_an_endpoint(as_staff, acme, field):
    facts = {"organization": acme.pk, "host": "llm.internal", "port": 8000, "network": "10.1.2.3/32"}

    response = as_staff.post("/admin/providers/privateendpoint/add/", {**facts, field: "sk-proj-canary-0123456789"})

    assert response.status_code in (200, 422)
    assert "canary" not in response.content.decode()
    assert not PrivateEndpoint.objects.exists()


def test_a_key_typed_as_the_model_of_a_route_is_refused_and_not_shown_again(as_alice, acme):
    key = save_provider_key(organization=acme, provider="openai", secret=Secret(KEY), actor=None, now=NOW)
    ProviderKey.objects.update(status="connected")
    posted = {"candidate_check-key": key.pk, "candidate_check-model": "sk-proj-canary-0123456789"}
    others = {f"requirement_generation-{name}": "" for name in ("key", "model", "was")}

    response = as_alice.post("/o/acme/settings/routing/save/", {**posted, **others, "candidate_check-was": "managed"})

    assert response.status_code == 422
    assert "canary" not in response.content.decode()
    assert not RoutingRule.objects.exists()


# Names that end elsewhere than they seem to -----------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "localhost。",
        "localhost．",
        "localhost｡",
        "localhost.",
        "localhost..",
        "local\u00adhost",
        "ｌｏｃａｌｈｏｓｔ",
        "127。0。0。1",
        "127.0.0.1。",
        "①②⑦.⓪.⓪.①",
        "１２７.0.0.1",
        "10。0。0。1",
        "server。internal。",
        "169。254。169。254",
    ],
)
def test_another_spelling_of_a_private_name_is_refused_when_it_is_saved(acme, host):
    with pytest.raises(BaseUrlRefused):
        normalized_base_url(organization=acme, provider="openai_compatible", base_url=f"https://{host}/v1")


def test_a_name_with_other_dots_is_saved_in_its_one_form(acme):
    url = normalized_base_url(
        organization=acme, provider="openai_compatible", base_url="https://llm。example。com。/v1"
    )

    assert url == BASE_URL


def test_of_a_field_that_is_emptied_the_others_keep_what_was_typed():
    posted = QueryDict("label=Our+server&base_url=https%3A%2F%2Fllm.example%2Fsk-proj-0123456789abcdef0123456789abcdef")

    form = AddKeyForm(posted, provider=PROVIDERS["openai_compatible"], auto_id="%s")

    assert "base_url" in form.errors
    assert (form["base_url"].value(), form["label"].value()) == ("", "Our server")
