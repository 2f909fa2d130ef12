"""The page of anomalies, the job that finds them, and the webhook."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from standardwebhooks import Webhook

from config import anomaly_hooks
from config.anomalies import said_of
from config.anomaly_addresses import SENTENCES, AddressRefused
from config.onboarding import close_organization
from organizations.models import AuditEvent
from organizations.sealing import every_fernet
from organizations.services import set_members_see_usd
from providers.adapters.base import ErrorKind, HttpAnswer, HttpCall, ProviderError
from providers.adapters.reasons import reason
from providers.adapters.sentences import SENTENCES as SENTENCES_OF_KEYS
from routing.models import RoutingRule
from tests.builders import route_to_own_key
from tests.conftest import logged_in
from tests.usage.conftest import event, lost_or_failed, roll_up
from usage.episodes.telling import tell_anomalies
from usage.episodes.webhooks import PURPOSE, rotate_webhook_secrets
from usage.models import Anomaly, AnomalyWebhook, UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
PAGE = "/o/acme/consumption/anomalies/"
URL = "https://hooks.example.com/keyfare"
USD = 10**9


def anomaly(organization, **fields: Any) -> Anomaly:
    values: dict[str, Any] = {
        "kind": "cost_per_request",
        "action": "candidate_check",
        "mode": "byok",
        "since": NOW - timedelta(hours=3),
        "seen_at": NOW,
        "found_at": NOW,
        "hours": 1,
        "usual": USD // 100,
        "found": USD // 25,
        "a_day_nanousd": 41 * USD,
        "drivers": [{"name": "models", "before": 0.02, "since": 0.97, "model": "openai/gpt-5"}],
        "unmeasured": ["fallback", "retries"],  # as it was kept while fallbacks were named
    }
    return Anomaly.objects.create(organization=organization, **{**values, **fields})


def text_of(client, address: str = PAGE) -> str:
    return " ".join(client.get(address).content.decode().split())


def test_an_anomaly_says_what_since_when_what_it_costs_and_what_drives_it(acme, alice):
    anomaly(acme)
    text = text_of(logged_in(alice))
    assert "Dearer requests: Candidate check" in text
    assert "A request cost $0.0400 within an hour; usual is $0.0100." in text
    assert "That cost $41.00 more than usual in the last 24 hours (estimated)." in text
    assert "97% of the calls go to OpenAI gpt-5, before 2%." in text
    assert "Not measured: the share of retries." in text
    assert "fallback" not in text


@pytest.mark.parametrize(
    ("kind", "subject", "expected"),
    [
        ("cost_per_request", "", {"it", "failed", "by token", "new"}),
        ("error_storm", "", {"failed"}),
        ("new_model", "openai/gpt-5", {"new"}),
        ("new_caller", "7", {"by token"}),
    ],
)
def test_see_the_calls_shows_exactly_these(acme, alice, kind, subject, expected):
    since, seen_at = NOW.replace(minute=0) - timedelta(hours=3), NOW.replace(minute=0)
    anomaly(acme, kind=kind, subject=subject, since=since, seen_at=seen_at)
    calls = {
        "it": event(acme, occurred_at=since),
        "failed": lost_or_failed(acme, UsageEvent.Status.FAILED, occurred_at=since + timedelta(hours=1)),
        "by token": event(acme, occurred_at=since + timedelta(minutes=5), token_id=7),
        "new": event(acme, occurred_at=seen_at - timedelta(seconds=1), model="gpt-5"),
        "earlier": event(acme, occurred_at=since - timedelta(seconds=1), model="gpt-5", token_id=7),
        "later": event(acme, occurred_at=seen_at, token_id=7),
        "other": event(acme, occurred_at=since, action="helper"),
        "managed": event(acme, occurred_at=since, mode="managed"),
    }
    roll_up(now=NOW)
    client = logged_in(alice)

    (row,) = [row for row, _ in client.get(PAGE).context["open"]]
    page = client.get(row.calls_url)

    assert page.context["form"].problems == []
    shown = {call.pk for call in page.context["events"]}
    assert {name for name, call in calls.items() if call.pk in shown} == expected


@pytest.mark.parametrize("kind", ["cost_per_request", "dear_run", "requests"])
def test_members_read_no_usd_where_owners_keep_them(acme, alice, bob, kind):
    anomaly(acme, kind=kind, subject=str(uuid.uuid4()) * (kind == "dear_run"))
    set_members_see_usd(organization=acme, sees=False, actor=alice)
    text = text_of(logged_in(bob))
    assert "$" not in text
    assert "What that costs is shown to owners and admins." in text
    assert "97% of the calls go to OpenAI gpt-5, before 2%." in text


@pytest.mark.parametrize(
    ("drivers", "words"),
    [(None, "What drives it was not measured."), ([], "Nothing that is measured drives it: ")],
)
def test_not_measured_and_nothing_found_are_two_things(acme, alice, drivers, words):
    anomaly(acme, drivers=drivers)
    assert words in text_of(logged_in(alice))


def test_the_calls_are_those_that_it_is_about(acme, alice):
    anomaly(acme, kind="error_storm", usual=0, found=600_000, a_day_nanousd=None)
    anomaly(acme, kind="dear_run", subject="3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    text = text_of(logged_in(alice)).replace("&amp;", "&")
    assert "consumption/calls/?run=3f2504e0-4f89-41d3-9a0c-0305e82c3301" in text
    assert "usage/?" not in text
    assert "60% of the calls within an hour failed; usual is 0%." in text
    assert "What that costs is not known." in text


def test_what_it_is_about_can_be_paused_and_resumed(acme, alice, simulated_providers):
    route_to_own_key(acme)
    anomaly(acme)
    client = logged_in(alice)
    assert "routing/candidate_check/pause/" in text_of(client)
    client.post("/o/acme/settings/routing/candidate_check/pause/")
    assert RoutingRule.objects.get(organization=acme, action="candidate_check").paused_at
    assert "routing/candidate_check/resume/" in text_of(client)


def test_what_is_expected_names_who_said_so_and_why(acme, alice):
    row = anomaly(acme)
    client = logged_in(alice)
    answer = client.post(f"{PAGE}{row.pk}/expect", {"days": "0", "why": "the yearly import"})
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    row.refresh_from_db()
    assert (row.state, row.expected_until, row.expected_most) == ("expected", None, row.found * 3 // 2)
    assert f"{alice.get_full_name()} expects it for good: the yearly import" in text_of(client)
    client.post(f"{PAGE}{row.pk}/raise")
    row.refresh_from_db()
    assert row.state == "over"
    actions = AuditEvent.objects.filter(organization=acme).order_by("seq").values_list("action", flat=True)
    assert list(actions) == ["anomaly.expected", "anomaly.raised_again"]


def test_a_reason_that_is_too_long_stays_in_its_form(acme, alice):
    row = anomaly(acme)
    answer = logged_in(alice).post(f"{PAGE}{row.pk}/expect", {"days": "30", "why": "x" * 201})
    assert answer.status_code == 422
    assert "x" * 201 in answer.content.decode()
    row.refresh_from_db()
    assert row.state == "open"


def test_members_see_it_and_cannot_answer_for_everybody(acme, bob):
    row = anomaly(acme)
    client = logged_in(bob)
    text = text_of(client)
    assert "Dearer requests" in text
    assert "This is expected" not in text
    assert "Webhook" not in text
    assert client.post(f"{PAGE}{row.pk}/expect", {"days": "30"}).status_code == 403


def test_members_whom_owners_show_no_usd_find_none_here(acme, alice, bob):
    anomaly(acme)
    anomaly(acme, kind="requests", usual=100, found=900)
    set_members_see_usd(organization=acme, sees=False, actor=alice)

    text = text_of(logged_in(bob))

    assert "More requests" in text
    assert "What that costs is shown to owners and admins." in text
    assert "$" not in text
    assert "$41.00" in text_of(logged_in(alice))


def test_what_managed_calls_cost_is_on_no_page(acme, alice):
    anomaly(acme, mode="managed")
    anomaly(acme, mode="managed", kind="requests", usual=100, found=900)
    text = text_of(logged_in(alice))
    assert "Dearer requests" not in text
    assert "900 requests within an hour" in text
    assert "$" not in text
    assert "what they cost is paid by the operator" in text


def test_a_page_of_many_asks_as_often_as_one_of_few(acme, alice, django_assert_max_num_queries):
    for number in range(30):
        anomaly(acme, kind="new_model", subject=f"openai/m{number}")
    client = logged_in(alice)
    client.get(PAGE)
    with django_assert_max_num_queries(20):
        client.get(PAGE)


def test_the_job_says_in_json_what_it_did():
    out = StringIO()
    call_command("detect_anomalies", "--json", stdout=out)
    said = json.loads(out.getvalue())
    assert (said["organizations"], said["opened"], said["mailed"], said["posted"]) == (0, 0, 0, 0)


# The webhook


@pytest.fixture
def posts(monkeypatch) -> list[HttpCall]:
    """What leaves, and what the server says to it, which is `posts.status`."""

    class Posts(list[HttpCall]):
        status: int | None = 204

    sent = Posts()

    def send(call: HttpCall, **_: Any) -> HttpAnswer:
        sent.append(call)
        if sent.status is None:
            raise ProviderError(ErrorKind.UNREACHABLE, reason("no_answer", host="hooks.example.com", seconds="10"))
        return HttpAnswer(sent.status, {}, b"")

    monkeypatch.setattr(anomaly_hooks, "send_now", send)
    return sent


def test_an_anomaly_is_posted_once_and_signed(acme, alice, posts):
    secret = anomaly_hooks.save_webhook(organization=acme, url=URL, actor=alice, now=NOW)
    row = anomaly(acme)
    tell_anomalies(now=NOW, said_of=said_of)

    assert anomaly_hooks.post_anomalies(now=NOW) == 1
    assert anomaly_hooks.post_anomalies(now=NOW) == 0

    (call,) = posts
    assert (call.method, call.url, call.headers["webhook-id"]) == ("POST", URL, f"anomaly_{row.pk}")
    assert call.body is not None
    signature = Webhook(secret).sign(f"anomaly_{row.pk}", NOW, call.body.decode())
    assert call.headers["webhook-signature"] == signature
    assert call.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    said = json.loads(call.body)
    assert said["type"] == "anomaly.found"
    assert said["data"]["more_than_usual_nanousd_a_day"] == 41 * USD
    assert said["data"]["url"] == f"{settings.SITE_URL.rstrip('/')}{PAGE}"
    assert AnomalyWebhook.objects.get().last_answer == "The server answered with status 204."


@pytest.mark.parametrize("status", [500, 404, None])
def test_what_the_server_does_not_take_is_posted_again(acme, alice, posts, status):
    anomaly_hooks.save_webhook(organization=acme, url=URL, actor=alice, now=NOW)
    anomaly(acme)
    tell_anomalies(now=NOW, said_of=said_of)
    posts.status = status
    assert anomaly_hooks.post_anomalies(now=NOW) == 0
    posts.status = 200
    assert anomaly_hooks.post_anomalies(now=NOW + timedelta(hours=1)) == 1
    assert posts[0].headers["webhook-id"] == posts[1].headers["webhook-id"]


def test_it_is_given_up_in_the_end(acme, alice, posts):
    anomaly_hooks.save_webhook(organization=acme, url=URL, actor=alice, now=NOW)
    anomaly(acme)
    tell_anomalies(now=NOW, said_of=said_of)
    posts.status = 500
    for hour in range(anomaly_hooks.MOST_ATTEMPTS + 3):
        anomaly_hooks.post_anomalies(now=NOW + timedelta(hours=hour))
    assert len(posts) == anomaly_hooks.MOST_ATTEMPTS


def test_no_usd_of_managed_calls_is_posted(acme, alice, posts):
    anomaly_hooks.save_webhook(organization=acme, url=URL, actor=alice, now=NOW)
    anomaly(acme, mode="managed")
    anomaly(acme, mode="managed", kind="requests", usual=100, found=900)
    tell_anomalies(now=NOW, said_of=said_of)
    anomaly_hooks.post_anomalies(now=NOW)
    (call,) = posts
    assert call.body is not None
    data = json.loads(call.body)["data"]
    assert (data["kind"], data["more_than_usual_nanousd_a_day"]) == ("requests", None)
    assert "$" not in call.body.decode()


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example.com/", "https://127.0.0.1/", "https://10.0.0.8/x", "https://localhost/", "ftp://a.example/"],
)
def test_it_goes_through_the_same_guard_as_every_call(acme, alice, url):
    with pytest.raises(AddressRefused):
        anomaly_hooks.save_webhook(organization=acme, url=url, actor=alice, now=NOW)
    assert not AnomalyWebhook.objects.exists()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "Enter the address to post to."),
        ("http://hooks.example.com/", "The address has to begin with https://."),
        ("hooks.example.com/keyfare", "Begin the address with https://, as in https://hooks.example.com/keyfare."),
        ("ftp://hooks.example.com/", "Begin the address with https://"),
        ("https://", "Name the server after https://"),
        ("https:///keyfare", "Name the server after https://"),
        ("https://:8443/keyfare", "Name the server after https://"),
        ("https://10.0.0.8/x", "This address is not on the internet."),
        ("https://[::1]/x", "This address is not on the internet."),
        ("https://localhost/", "This address is not on the internet."),
        ("https://hooks.example.com:8443/", "Only port 443 can be posted to."),
        ("https://hooks.example.com:99999/", "A port is a number from 1 to 65535."),
        ("https://hooks.example.com:port/", "A port is a number from 1 to 65535."),
        ("https://[2001:db8::1]:port/", "A port is a number from 1 to 65535."),
        ("https://alice:word@hooks.example.com/", "Leave user name and password out of the address"),
        ("https://hooks.example.com/x#part", "Leave out what begins with “?” or “#”"),
        ("https://hooks.example.com/x?a=b", "Leave out what begins with “?” or “#”"),
        ("https://hooks.example.com/" + "x" * 200, "The address has at most 200 characters."),
        ("https://256.1.1.1/", "Write an IP address as four numbers"),
        ("https://hooks..example.com/", "The name of the server is not valid."),
        ("https://hooks.example.com/a b", "This is no address of a server."),
        ("https://hooks.example.com/../x", "This is no address of a server."),
    ],
)
def test_an_address_that_is_none_is_refused_in_words_of_its_own(acme, alice, url, sentence):
    answer = logged_in(alice).post(f"{PAGE}webhook", {"url": url})
    assert answer.status_code == 422
    (said,) = answer.context["webhook_form"].errors["url"]
    assert sentence in said
    text = " ".join(answer.content.decode().split())
    assert "base URL" not in text
    assert not AnomalyWebhook.objects.exists()


def test_an_address_that_is_not_allowed_any_more_is_told_in_the_same_words(acme, alice, posts):
    anomaly_hooks.save_webhook(organization=acme, url=URL, actor=alice, now=NOW)
    AnomalyWebhook.objects.update(url="https://10.0.0.8/x")
    anomaly(acme)
    tell_anomalies(now=NOW, said_of=said_of)
    anomaly_hooks.post_anomalies(now=NOW)
    assert not posts
    assert AnomalyWebhook.objects.get().last_answer.startswith("This address is not on the internet.")


def test_every_reason_has_its_sentence():
    of_base_urls = {code.removeprefix("base_url.") for code in SENTENCES_OF_KEYS if code.startswith("base_url.")}
    assert of_base_urls - set(SENTENCES) == {"missing", "no_url"}  # a form asks for it, and `_what_is_wrong` looks on


def test_the_secret_is_shown_once_and_is_sealed(acme, alice):
    client = logged_in(alice)
    answer = client.post(f"{PAGE}webhook", {"url": URL})
    assert answer.status_code == 200
    said = answer.content.decode()
    secret = said[said.index("whsec_") :].split("<")[0]
    assert secret not in AnomalyWebhook.objects.get().sealed_secret
    assert "whsec_" not in text_of(client)
    assert client.post(f"{PAGE}webhook", {"url": "http://hooks.example.com"}).status_code == 422
    client.post(f"{PAGE}webhook/remove")
    assert not AnomalyWebhook.objects.exists()


def test_new_master_keys_open_the_secret_and_closing_forgets_it(acme, alice, posts, settings):
    secret = anomaly_hooks.save_webhook(organization=acme, url=URL, actor=alice, now=NOW)
    settings.FERNET_KEYS = ["another-master-key-0123456789abcdef", *settings.FERNET_KEYS]
    rotate_webhook_secrets()
    settings.FERNET_KEYS = settings.FERNET_KEYS[:1]
    sealed = AnomalyWebhook.objects.get().sealed_secret
    assert every_fernet(PURPOSE).decrypt(sealed.encode()).decode() == secret
    close_organization(organization=acme, actor=None, now=NOW)
    assert not AnomalyWebhook.objects.exists()
