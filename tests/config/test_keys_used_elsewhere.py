"""A key that its provider says used more than what passed here: found by the figures that validating it reads."""

from __future__ import annotations

import json
import urllib.request
from datetime import timedelta
from io import StringIO

import pytest
from django.core import mail
from django.core.management import call_command

from config.anomalies import said_of, shown_anomalies
from organizations.services import set_members_see_usd
from providers.keys.usage_readings import readings, with_reading
from providers.keys.validation import validate_due_keys
from providers.models import ProviderKey
from tests.builders import NOW, connect_key, connect_managed_key
from tests.config.test_anomalies import text_of
from tests.conftest import logged_in
from tests.usage.conftest import event, settle
from usage.anomalies.elsewhere import Passed, used_elsewhere
from usage.episodes.following import SETTLED, detect_anomalies
from usage.episodes.telling import tell_anomalies
from usage.models import Anomaly

USD = 10**9
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SECRET = "sk-or-v1-simulated-valid-0001"
JUDGED = NOW + DAY + HOUR + SETTLED
database = pytest.mark.django_db(transaction=True)


def passed(usd: float, calls: int = 100, without: int = 0) -> Passed:
    return Passed(round(usd * USD), calls, without)


@pytest.mark.parametrize(
    ("used", "here", "is_told"),
    [
        (12, passed(2), True),
        (0.99, passed(0, calls=0), False),  # too little money
        (1, passed(0, calls=0), True),
        (2, passed(9), False),  # a provider that accounts late
        (100, passed(91), False),  # within a tenth
        (100, passed(89), True),
        (12, passed(10, without=10), False),  # ten calls of nobody knows what cost: they may be the rest
        (12, passed(2, without=10), True),
        (50, passed(0, calls=3, without=3), False),  # nobody knows what any cost
    ],
)
def test_what_can_make_two_accounts_differ_is_left_to_the_key(used, here, is_told):
    found = used_elsewhere(key="k", used_nanousd=round(used * USD), passed=here, since=0, hours=24, hour=24)
    assert bool(found) == is_told
    if found:
        assert (found.usual, found.found) == (here.cost_nanousd, round(used * USD) - here.cost_nanousd)


def test_of_two_readings_one_is_about_a_day_older():
    told = {"usage_nanousd": 1}
    first = with_reading(told, {}, now=NOW)
    assert "before" not in first
    second = with_reading({"usage_nanousd": 2}, first, now=NOW + HOUR)
    assert second["before"] == {"usage_nanousd": 1, "read_at": NOW.isoformat()}
    third = with_reading({"usage_nanousd": 3}, second, now=NOW + 2 * HOUR)
    assert third["before"]["usage_nanousd"] == 1
    fourth = with_reading({"usage_nanousd": 4}, third, now=NOW + DAY)
    assert fourth["before"]["usage_nanousd"] == 3
    assert with_reading({}, fourth, now=NOW) == {}


def test_the_simulator_counts_what_a_key_used(simulator):
    def asked(path: str, **content) -> dict:
        headers = {"authorization": f"Bearer {SECRET}", "content-type": "application/json"}
        body = json.dumps(content).encode() if content else None
        request = urllib.request.Request(f"{simulator.origins['openrouter']}{path}", body, headers)  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return json.load(answer)

    before = asked("/key")["data"]["usage"]
    said = asked(
        "/chat/completions", model="openai/gpt-4.1-mini", messages=[{"role": "user", "content": "Hello there"}]
    )
    after = asked("/key")["data"]
    simulator.app.spent.clear()
    assert said["usage"]["cost"] > 0
    assert after["usage"] == pytest.approx(before + said["usage"]["cost"])
    assert after["usage_daily"] == pytest.approx(0.25 + said["usage"]["cost"])


@pytest.fixture
def key(acme, simulated_providers) -> ProviderKey:
    return connect_key(acme)


def used(simulator, usd: float) -> None:
    """With the key, anywhere; then it is validated as every day."""
    simulator.app.spent[SECRET] += usd
    ProviderKey.objects.get().validations.update(finished_at=NOW)
    assert validate_due_keys(now=NOW + DAY, older_than=DAY).outcomes


def detect(now=JUDGED):
    settle()
    return detect_anomalies(now=now, readings=readings)


@database
def test_what_did_not_pass_here_is_told_once(acme, alice, key, simulated_providers):
    event(acme, key_id=key.pk, provider="openrouter", occurred_at=NOW + HOUR, cost_nanousd=2 * USD)
    event(acme, key_id=key.pk, provider="openrouter", occurred_at=NOW - 2 * HOUR, cost_nanousd=50 * USD)
    event(acme, provider="openrouter", occurred_at=NOW + HOUR, cost_nanousd=50 * USD)  # another key's
    used(simulated_providers, 12)

    assert detect(NOW + DAY + HOUR + SETTLED).opened == 1
    assert detect(NOW + DAY + HOUR + SETTLED).opened == 0
    tell_anomalies(now=JUDGED, said_of=said_of)
    tell_anomalies(now=JUDGED, said_of=said_of)

    anomaly = Anomaly.objects.get()
    assert (anomaly.kind, anomaly.subject, anomaly.usual, anomaly.found) == (
        "elsewhere", str(key.pk), 2 * USD, 10 * USD,
    )  # fmt: skip
    (message,) = mail.outbox
    assert message.subject == "A key is used elsewhere in Acme"
    assert "The key “OpenRouter · Default” cost $12.00 within 24 hours by its provider's account;" in message.body
    assert "what passed here with it cost $2.0000." in message.body
    assert "What did not pass here cost $10.00." in message.body
    (shown,) = shown_anomalies(acme)
    assert f"key={key.pk}" in shown.calls_url
    assert logged_in(alice).get(shown.calls_url).context["form"].problems == []


@database
def test_what_passed_here_is_not_told(acme, key, simulated_providers):
    event(acme, key_id=key.pk, provider="openrouter", occurred_at=NOW + HOUR, cost_nanousd=11 * USD)
    used(simulated_providers, 12)
    assert detect().opened == 0


@database
def test_calls_around_a_reading_are_left_to_the_key(acme, key, simulated_providers):
    for moment in (NOW - HOUR / 2, NOW + DAY + HOUR / 2):
        event(acme, key_id=key.pk, provider="openrouter", occurred_at=moment, cost_nanousd=6 * USD)
    used(simulated_providers, 12)
    assert detect().opened == 0


@database
def test_another_secret_begins_anew(acme, alice, key, simulated_providers):
    ProviderKey.objects.update(provider_limits={})  # as replacing it leaves it
    used(simulated_providers, 12)
    assert detect().opened == 0
    assert "before" not in ProviderKey.objects.get().provider_limits


@database
@pytest.mark.parametrize(("apart", "count"), [(2 * HOUR, 0), (DAY, 1), (8 * DAY, 0)])
def test_two_readings_are_a_day_to_a_week_apart(acme, key, simulated_providers, apart, count):
    simulated_providers.app.spent[SECRET] += 12
    key.validations.update(finished_at=NOW)
    validate_due_keys(now=NOW + apart, older_than=HOUR)
    assert len(list(readings(NOW, NOW + 9 * DAY))) == count


@database
def test_keys_of_the_operator_are_not_looked_at(simulated_providers):
    connect_managed_key()
    used(simulated_providers, 12)
    assert not list(readings(NOW, NOW + 2 * DAY))


@database
def test_members_read_no_usd_of_it_where_owners_keep_them(acme, alice, bob, key, simulated_providers):
    used(simulated_providers, 12)
    detect()
    set_members_see_usd(organization=acme, sees=False, actor=alice)
    text = text_of(logged_in(bob))
    assert "was used for more than what passed here, by its provider&#x27;s account." in text
    assert "$" not in text
    assert "$12.0" in text_of(logged_in(alice))


@database
def test_the_job_looks_at_keys(acme, key, simulated_providers, monkeypatch):
    used(simulated_providers, 12)
    monkeypatch.setattr("organizations.clock.now", lambda: JUDGED)
    out = StringIO()
    call_command("detect_anomalies", "--json", stdout=out)
    assert json.loads(out.getvalue())["opened"] == 1
