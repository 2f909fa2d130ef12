"""Episodes: found once, told once, over when they are over, and quiet where somebody said so."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import pytest
from django.core import mail
from django.utils import timezone

from organizations.models import ApiToken, AuditEvent, Membership
from organizations.services import set_members_see_usd
from tests.usage.conftest import KEY, NOON, event, roll_up
from usage.anomalies.series import moment_of, number_of
from usage.episodes import following, reading
from usage.episodes.answers import NotExpected, expect_anomaly, raise_again
from usage.episodes.following import SETTLED, detect_anomalies
from usage.episodes.keeping import Episodes
from usage.episodes.telling import tell_anomalies
from usage.episodes.words import Said, said
from usage.measures import COARSE_MEASURES, MEASURES
from usage.models import Anomaly, Mode, RollupState, UsageDaily, UsageHourly
from usage.rollups import HOURS_KEPT_DAYS

pytestmark = pytest.mark.django_db(transaction=True)

USD = 10**9
NOW = NOON + SETTLED  # the hour from 11 to 12 has just been over for long enough
HOUR = number_of(NOON) - 1
DAYS = 30


def hours(organization, *, action: str = "candidate_check", mode: Mode = Mode.BYOK, spike: int = 1, **last) -> None:
    """30 days of 100 calls an hour at a cent, up to NOON; in the last hour `spike` times as many."""
    first = HOUR + 1 - DAYS * 24
    UsageHourly.objects.bulk_create(
        _hour(organization, number, action, mode, 100 * (spike if number == HOUR else 1) + number % 3, last)
        for number in range(first, HOUR + 1)
    )


def _hour(organization, number: int, action: str, mode: Mode, calls: int, last: dict) -> UsageHourly:
    values = dict.fromkeys(COARSE_MEASURES, 0) | {
        "calls": calls,
        "answered": calls,
        "cost_nanousd": calls * USD // 100,
        "uncached_input_tokens": calls * 1000,
        "output_tokens": calls * 100,
        **(last if number == HOUR else {}),
    }
    return UsageHourly(
        organization=organization,
        hour=moment_of(number),
        provider="openai",
        model="gpt-4o",
        action=action,
        mode=mode,
        **values,
    )


def said_of(anomaly: Anomaly) -> Said:
    return said(anomaly, action=anomaly.action.replace("_", " ").title())


def later(hours_later: int) -> datetime:
    return NOW + timedelta(hours=hours_later)


def test_a_burst_is_found_with_since_cost_and_drivers(acme, globex):
    hours(acme, spike=9)
    hours(globex)

    detected = detect_anomalies(now=NOW)

    assert (detected.organizations, detected.actions, detected.opened, detected.hour) == (2, 2, 1, NOON.isoformat())
    anomaly = Anomaly.objects.get()
    assert (anomaly.organization, anomaly.kind, anomaly.state) == (acme, "requests", "open")
    assert (anomaly.since, anomaly.seen_at, anomaly.found_at) == (NOON - timedelta(hours=1), NOON, NOW)
    assert (anomaly.usual, anomaly.found) == (101, 900 + HOUR % 3)
    assert anomaly.a_day_nanousd == pytest.approx(8 * USD, rel=0.02)
    assert (anomaly.drivers, anomaly.unmeasured) == ([], [])


def test_running_twice_finds_it_once_and_tells_it_once(acme, alice):
    hours(acme, spike=9)
    for _ in range(2):
        detect_anomalies(now=NOW)
        tell_anomalies(now=NOW, said_of=said_of)
    assert Anomaly.objects.count() == 1
    (message,) = mail.outbox
    assert message.to == [alice.email]
    assert message.subject == "More requests: Candidate Check in Acme"
    assert "requests within an hour; usual at this time of the week are 101." in message.body
    assert "more than usual in the last 24 hours (estimated)" in message.body
    assert "/o/acme/consumption/anomalies/" in message.body


def test_it_is_the_same_episode_until_nothing_was_found_for_three_days(acme):
    hours(acme, spike=9)
    detect_anomalies(now=NOW)
    UsageHourly.objects.bulk_create([_hour(acme, HOUR + 1, "candidate_check", Mode.BYOK, 950, {})])
    assert detect_anomalies(now=later(1)).opened == 0
    anomaly = Anomaly.objects.get()
    assert (anomaly.seen_at, anomaly.found) == (NOON + timedelta(hours=1), 950)
    assert detect_anomalies(now=later(2 * 24)).over == 0
    assert detect_anomalies(now=later(3 * 24 + 2)).over == 1
    anomaly.refresh_from_db()
    assert anomaly.state == "over"


def test_what_was_told_is_no_part_of_what_is_usual_and_what_is_expected_is(acme, alice):
    hours(acme, spike=9)
    detect_anomalies(now=NOW)
    anomaly = Anomaly.objects.get()
    Anomaly.objects.update(state="over")
    # Two days later, when the burst is a part of the history.
    again = HOUR + 3 * 24
    UsageHourly.objects.bulk_create(
        _hour(acme, number, "candidate_check", Mode.BYOK, 900 if number == again else 100 + number % 3, {})
        for number in range(HOUR + 1, again + 1)
    )
    assert detect_anomalies(now=later(3 * 24)).opened == 1
    Anomaly.objects.exclude(pk=anomaly.pk).delete()

    expect_anomaly(organization=acme, anomaly_id=anomaly.pk, by=alice, days=1, why="a test", now=NOW)
    assert detect_anomalies(now=later(3 * 24)).opened == 0


def test_what_is_expected_is_not_raised_within_what_was_declared(acme, alice):
    hours(acme, spike=9)
    detect_anomalies(now=NOW)
    anomaly = Anomaly.objects.get()

    expect_anomaly(organization=acme, anomaly_id=anomaly.pk, by=alice, days=7, why=" month  end ", now=NOW)

    anomaly.refresh_from_db()
    assert (anomaly.state, anomaly.expected_by, anomaly.expected_why) == ("expected", alice, "month end")
    assert anomaly.expected_until == NOW + timedelta(days=7)
    assert detect_anomalies(now=NOW).opened == 0
    # Half as much again is beyond.
    UsageHourly.objects.filter(hour=moment_of(HOUR)).update(calls=anomaly.found * 2)
    assert detect_anomalies(now=NOW).opened == 1
    recorded = AuditEvent.objects.get(action="anomaly.expected")
    assert (recorded.actor, recorded.details["days"], recorded.details["why"]) == (alice, 7, "month end")


def test_who_takes_it_back_has_it_raised_again(acme, alice):
    hours(acme, spike=9)
    detect_anomalies(now=NOW)
    anomaly = Anomaly.objects.get()
    expect_anomaly(organization=acme, anomaly_id=anomaly.pk, by=alice, days=None, why="", now=NOW)
    with pytest.raises(NotExpected, match="already"):
        expect_anomaly(organization=acme, anomaly_id=anomaly.pk, by=alice, days=None, why="", now=NOW)
    assert raise_again(organization=acme, anomaly_id=anomaly.pk, by=alice)
    assert not raise_again(organization=acme, anomaly_id=anomaly.pk, by=alice)
    assert detect_anomalies(now=NOW).opened == 1


def test_nothing_of_another_organization_can_be_expected(acme, globex, alice):
    hours(globex, spike=9)
    detect_anomalies(now=NOW)
    with pytest.raises(NotExpected, match="no such"):
        expect_anomaly(organization=acme, anomaly_id=Anomaly.objects.get().pk, by=alice, days=7, why="", now=NOW)
    assert Anomaly.objects.get().state == "open"


def test_what_managed_calls_cost_is_told_to_nobody(acme, alice):
    hours(acme, mode=Mode.MANAGED, cost_nanousd=50 * USD)
    hours(acme, action="other", mode=Mode.MANAGED, spike=9)
    assert detect_anomalies(now=NOW).opened == 2

    tell_anomalies(now=NOW, said_of=said_of)

    assert not Anomaly.objects.filter(told_at=None).exists()
    (message,) = mail.outbox
    assert message.subject.startswith("More requests: Other")
    assert "$" not in message.body
    assert "Managed: what they cost is paid by the operator" in message.body


def test_the_member_whose_token_it_is_hears_of_it_too(acme, alice, bob):
    Membership.objects.filter(user=bob).update(role=Membership.Role.MEMBER)
    hours(acme, spike=9)
    token = ApiToken.objects.create(
        organization=acme, name="Nightly", prefix="a", digest="b", scopes=[], created_by=bob
    )
    day = dict.fromkeys(MEASURES, 0) | {"calls": 900}
    UsageDaily.objects.create(
        organization=acme, day=NOON.date(), provider="openai", model="gpt-4o", action="candidate_check", key_id=KEY,
        key_label="Default", mode=Mode.BYOK, token_id=token.pk, member_id=bob.pk, **day,
    )  # fmt: skip
    detect_anomalies(now=NOW)
    tell_anomalies(now=NOW, said_of=said_of)
    assert sorted(message.to[0] for message in mail.outbox) == sorted([alice.email, bob.email])

    Anomaly.objects.update(told_at=None)
    mail.outbox.clear()
    set_members_see_usd(organization=acme, sees=False, actor=alice)
    tell_anomalies(now=NOW, said_of=said_of)
    said = {message.to[0]: str(message.body) for message in mail.outbox}
    assert "shown to owners and admins" in said[bob.email]
    assert "shown to owners and admins" not in said[alice.email]


@pytest.mark.parametrize("kind", ["requests", "cost_per_request"])
def test_a_mail_to_a_member_has_no_usd_where_owners_keep_them(acme, alice, bob, kind):
    Membership.objects.filter(user=bob).update(role=Membership.Role.MEMBER)
    if kind == "requests":
        hours(acme, spike=9)
    else:
        hours(acme, cost_nanousd=50 * USD, uncached_input_tokens=10**7)
    token = ApiToken.objects.create(
        organization=acme, name="Nightly", prefix="a", digest="b", scopes=[], created_by=bob
    )
    day = dict.fromkeys(MEASURES, 0) | {"calls": 900}
    UsageDaily.objects.create(
        organization=acme, day=NOON.date(), provider="openai", model="gpt-4o", action="candidate_check", key_id=KEY,
        key_label="Default", mode=Mode.BYOK, token_id=token.pk, member_id=bob.pk, **day,
    )  # fmt: skip
    set_members_see_usd(organization=acme, sees=False, actor=alice)
    detect_anomalies(now=NOW)
    assert Anomaly.objects.get().kind == kind

    tell_anomalies(now=NOW, said_of=said_of)

    bodies = {message.to[0]: message.body for message in mail.outbox}
    assert "$" in bodies[alice.email]
    assert "$" not in bodies[bob.email]
    assert "What that costs is shown to owners and admins." in bodies[bob.email]
    said = f"{900 + HOUR % 3} requests within an hour" if kind == "requests" else "of input on average, before 1,000."
    assert said in bodies[bob.email]


def test_a_token_that_never_called_is_told(acme):
    hours(acme)
    day = dict.fromkeys(MEASURES, 0) | {"calls": 50, "cost_nanousd": 3 * USD}
    for days, token in ((0, 5), (0, 6), (9, 6)):
        UsageDaily.objects.create(
            organization=acme, day=NOON.date() - timedelta(days=days), provider="openai", model="gpt-4o",
            action="candidate_check", key_id=KEY, key_label="Default", mode=Mode.BYOK, token_id=token, member_id=1,
            **day,
        )  # fmt: skip
    detect_anomalies(now=NOW)
    anomaly = Anomaly.objects.get()
    assert (anomaly.kind, anomaly.subject, anomaly.a_day_nanousd) == ("new_caller", "5", 3 * USD)


def test_a_run_far_dearer_than_others_is_told_once(acme):
    hours(acme)
    for days in range(1, 9):
        day = dict.fromkeys(MEASURES, 0) | {"priced_runs": 10, "run_cost_nanousd": USD}
        UsageDaily.objects.create(
            organization=acme, day=NOON.date() - timedelta(days=days), provider="openai", model="gpt-4o",
            action="candidate_check", key_id=KEY, key_label="Default", mode=Mode.BYOK, token_id=0, member_id=0, **day,
        )  # fmt: skip
    run, at = uuid.uuid4(), NOON - timedelta(minutes=30)
    event(acme, run_id=run, occurred_at=at, cost_nanousd=30 * USD)
    event(acme, run_id=run, occurred_at=at - timedelta(hours=2), cost_nanousd=10 * USD)
    event(acme, occurred_at=at, cost_nanousd=USD // 2)

    detect_anomalies(now=NOW)

    anomaly = Anomaly.objects.get(kind="dear_run")
    assert (anomaly.subject, anomaly.found, anomaly.usual) == (str(run), 40 * USD, USD // 10)
    Anomaly.objects.update(state="over")
    detect_anomalies(now=NOW)
    assert Anomaly.objects.filter(kind="dear_run").count() == 1


def test_closed_organizations_and_the_operator_are_not_looked_at(acme, globex):
    hours(acme, spike=9)
    hours(globex, spike=9)
    type(acme).objects.filter(pk=acme.pk).update(closed_at=timezone.now())
    assert detect_anomalies(now=NOW).organizations == 1
    assert Anomaly.objects.get().organization == globex


def missed(organization, *, burst: int, hours_missed: int, lasts: int = 1) -> None:
    """The job ran at NOON and not for so many hours; from the hour `burst` of them on were nine times the requests."""
    hours(organization)
    roll_up(now=NOON)
    RollupState.objects.update_or_create(pk=1, defaults={"judged_to": NOON})
    UsageHourly.objects.bulk_create(
        _hour(organization, HOUR + 1 + number, "candidate_check", Mode.BYOK, 900 if is_burst else 101, {})
        for number in range(hours_missed)
        for is_burst in [burst <= number < burst + lasts]
    )


def test_an_hour_that_was_missed_is_judged_by_the_next_run(acme, alice):
    missed(acme, burst=2, hours_missed=6)

    detected = detect_anomalies(now=later(6))
    tell_anomalies(now=later(6), said_of=said_of)

    assert (detected.hours, detected.opened, detected.over) == (6, 1, 0)
    anomaly = Anomaly.objects.get()
    assert (anomaly.since, anomaly.seen_at) == (NOON + timedelta(hours=2), NOON + timedelta(hours=3))
    assert (anomaly.found, anomaly.found_at, anomaly.state) == (900, later(6), "open")
    assert len(mail.outbox) == 1
    detected = detect_anomalies(now=later(7))
    assert (detected.hours, detected.seen) == (1, 0)


def test_what_was_over_before_it_was_found_is_told_once_as_past(acme, alice):
    missed(acme, burst=2, hours_missed=5 * 24)

    detected = detect_anomalies(now=later(5 * 24))
    assert (detected.hours, detected.opened, detected.over) == (5 * 24, 1, 1)
    for hours_later in (0, 1):
        tell_anomalies(now=later(5 * 24 + hours_later), said_of=said_of)
        detect_anomalies(now=later(5 * 24 + hours_later))

    anomaly = Anomaly.objects.get()
    assert (anomaly.since, anomaly.seen_at) == (NOON + timedelta(hours=2), NOON + timedelta(hours=3))
    assert anomaly.state == "over"
    (message,) = mail.outbox
    assert message.body.startswith("Something was out of the ordinary in Acme.")
    assert "From 2026-11-21 14:00 to 2026-11-21 15:00 UTC, and it is over. 900 requests within an hour" in message.body
    assert "more than usual in its last 24 hours (estimated)" in message.body


def test_two_bursts_of_the_time_that_was_missed_are_two_episodes(acme):
    missed(acme, burst=2, hours_missed=6 * 24)
    UsageHourly.objects.filter(hour=NOON + timedelta(hours=5 * 24)).update(calls=900)
    assert detect_anomalies(now=later(6 * 24)).opened == 2
    assert list(Anomaly.objects.order_by("since").values_list("state", flat=True)) == ["over", "open"]


def test_a_run_that_breaks_off_leaves_its_hours_to_the_next(acme, monkeypatch):
    missed(acme, burst=30, hours_missed=40)

    def breaks(*_):
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(Episodes, "write", breaks)
        with pytest.raises(RuntimeError):
            detect_anomalies(now=later(40))
    assert RollupState.objects.get().judged_to == NOON + timedelta(hours=24)  # the first day is done
    assert not Anomaly.objects.exists()
    detected = detect_anomalies(now=later(40))
    assert (detected.hours, detected.opened) == (16, 1)


def test_what_another_process_has_judged_meanwhile_is_not_written_again(acme, monkeypatch):
    missed(acme, burst=2, hours_missed=3)
    read = reading.hours_of_everybody

    def read_slowly(first, last):
        monkeypatch.setattr(following, "hours_of_everybody", read)
        assert detect_anomalies(now=later(3)).opened == 1
        return read(first, last)

    monkeypatch.setattr(following, "hours_of_everybody", read_slowly)
    assert detect_anomalies(now=later(3)).opened == 0
    assert Anomaly.objects.count() == 1


def test_at_first_and_after_long_no_past_is_told_as_news(acme):
    hours(acme)
    roll_up(now=NOON)
    RollupState.objects.get_or_create(pk=1)
    assert detect_anomalies(now=NOW).hours == 1
    assert RollupState.objects.get().judged_to == NOON
    RollupState.objects.update(judged_to=NOON - timedelta(days=400))
    assert detect_anomalies(now=NOW).hours == HOURS_KEPT_DAYS * 24
    RollupState.objects.update(judged_to=NOON + timedelta(days=1))  # a clock that was set back
    assert detect_anomalies(now=NOW).hours == 1
    assert RollupState.objects.get().judged_to == NOON + timedelta(days=1)


def test_a_token_that_first_called_in_the_time_that_was_missed_is_told(acme):
    missed(acme, burst=0, hours_missed=4 * 24, lasts=0)
    day = dict.fromkeys(MEASURES, 0) | {"calls": 50, "cost_nanousd": 3 * USD}
    UsageDaily.objects.create(
        organization=acme, day=NOON.date() + timedelta(days=1), provider="openai", model="gpt-4o",
        action="candidate_check", key_id=KEY, key_label="Default", mode=Mode.BYOK, token_id=5, member_id=1, **day,
    )  # fmt: skip
    detect_anomalies(now=later(4 * 24))
    anomaly = Anomaly.objects.get()
    assert (anomaly.kind, anomaly.since.date()) == ("new_caller", NOON.date() + timedelta(days=1))


def test_it_asks_as_often_whatever_the_number_of_organizations(acme, globex, django_assert_max_num_queries):
    hours(acme)
    hours(globex)
    with django_assert_max_num_queries(8):
        detect_anomalies(now=NOW)
