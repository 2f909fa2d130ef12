from __future__ import annotations

import json
import random
import threading
import uuid
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from config.exports import export
from organizations import clock, one_at_a_time
from organizations.append_only import VARIABLE, letting_go
from organizations.audit_chain import verify_audits
from organizations.models import AuditEvent, Organization
from tests.serving_role import as_owner
from tests.usage.conftest import NOON, all_tables, event, rebuild, record_call, roll_up, settle
from tests.usage.test_concurrency import in_threads
from usage import pruning, rollups
from usage.days import months_before
from usage.exports import books
from usage.exports.periods import BadPeriod, Days, Month
from usage.exports.sealing import seal_due_months
from usage.models import RollupState, SealedMonth, UsageDaily, UsageEvent, UsageRun
from usage.pruning import Pruned, PruneRefused
from usage.self_check import check_usage

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = date(2026, 8, 1)
BORDER = datetime(2026, 8, 1, tzinfo=UTC)
OLD = BORDER - timedelta(days=12)


def prune(**how) -> Pruned:
    settle()
    seal_due_months(now=NOON, others={})
    with as_owner():
        return pruning.prune_usage(before=BEFORE, **how)


def calls_over_years(organization, count: int, seed: int) -> None:
    """More of them about the border, in runs that began on the day before or the day after, too."""
    chance = random.Random(seed)
    for _ in range(count):
        left = BORDER + timedelta(days=chance.choice([-800, -60, -31, -2, -1, 0, 1, 2, 40, 110]), hours=3)
        event(
            organization,
            occurred_at=left,
            iteration=chance.choice([1, 2]),
            run_day=chance.choice([None, None, left.date() - timedelta(days=1), left.date() + timedelta(days=1)]),
            model=chance.choice(["small", "large"]),
            labels=chance.choice([{}, {"team": "a"}]),
            output_tokens=chance.randrange(500),
            cost_nanousd=chance.choice([None, chance.randrange(10**7)]),
        )


def test_calls_leave_by_month_and_their_days_stay(acme, globex):
    for organization in (acme, globex):
        event(organization, occurred_at=BORDER - timedelta(microseconds=1), cost_nanousd=5)
        event(organization, occurred_at=BORDER, cost_nanousd=7)
    event(acme, occurred_at=OLD - timedelta(days=3 * 365), cost_nanousd=11)
    roll_up(now=NOON)
    days = all_tables()

    pruned = prune()

    assert (pruned.before, pruned.events) == (BEFORE, 3)
    assert list(UsageEvent.objects.values_list("cost_nanousd", flat=True)) == [7, 7]
    assert all_tables() == days
    told = AuditEvent.objects.filter(action="usage.pruned").order_by("organization__slug")
    assert [(each.organization.slug, each.details, each.target) for each in told] == [
        ("acme", {"calls": 2}, "calls of before 2026-08-01"),
        ("globex", {"calls": 1}, "calls of before 2026-08-01"),
    ]
    assert not any(log.problem for _, log in verify_audits(Organization.objects.all()))
    assert prune() == Pruned(BEFORE, 0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_rebuild_loses_nothing_of_what_has_left(acme, globex, seed):
    """Whatever runs went over the border: they count on days of which the calls are there, and the other way round."""
    for number, organization in enumerate((acme, globex)):
        calls_over_years(organization, 40, seed * 2 + number)
    roll_up(now=NOON)
    days = all_tables()
    prune()

    rebuild(now=NOON)

    assert all_tables() == days
    event(acme, occurred_at=OLD, cost_nanousd=3)  # of a day that has left: it comes by itself
    event(acme, occurred_at=BORDER + timedelta(hours=1), run_day=OLD.date(), cost_nanousd=4, iteration=2)
    event(globex, occurred_at=NOON, cost_nanousd=5)
    with_late = sum(day["cost_nanousd"] for day in days[0].values()) + 3 + 4 + 5
    rebuild(now=NOON)
    assert sum(row.cost_nanousd for row in UsageDaily.objects.all()) == with_late
    once = all_tables()
    rebuild(now=NOON)
    assert all_tables() == once
    assert roll_up(now=NOON) == rollups.NOTHING


def test_nothing_leaves_before_it_is_in_the_daily_figures(acme):
    event(acme, occurred_at=OLD)
    event(acme, occurred_at=NOON)

    with pytest.raises(PruneRefused, match=r"not in the daily figures yet\. Run `manage\.py roll_up_usage`"):
        prune()

    assert UsageEvent.objects.count() == 2
    assert not RollupState.objects.exclude(derived_from=None).exists()
    roll_up(now=NOON)
    event(acme, occurred_at=NOON)  # of what stays, that need not be
    assert prune().events == 1


def test_nothing_leaves_while_a_call_of_then_is_under_way(acme, admit):
    event(acme, occurred_at=OLD)
    roll_up(now=NOON)
    call = admit(now=BORDER - timedelta(seconds=1))

    with pytest.raises(PruneRefused, match="1 calls of before 2026-08-01 are under way"):
        prune()

    record_call(call=call, status=UsageEvent.Status.ANSWERED, now=NOON)
    roll_up(now=NOON)
    assert prune().events == 2


def test_nothing_leaves_that_the_daily_figures_do_not_hold(acme, globex):
    event(acme, occurred_at=OLD, cost_nanousd=5)
    event(globex, occurred_at=OLD, cost_nanousd=5)
    roll_up(now=NOON)
    UsageDaily.objects.filter(organization=globex).update(cost_nanousd=4)

    with pytest.raises(PruneRefused, match=rf"calls of 2026-07-20 of organization {globex.pk} do not add up"):
        prune()

    assert UsageEvent.objects.count() == 2
    rebuild(now=NOON)
    assert prune().events == 2


def test_a_call_of_then_that_is_recorded_meanwhile_stays(acme, monkeypatch):
    event(acme, occurred_at=OLD)
    roll_up(now=NOON)
    before = pruning._settle

    def settle_late(*arguments) -> None:
        event(acme, occurred_at=OLD, cost_nanousd=9)
        before(*arguments)

    monkeypatch.setattr(pruning, "_settle", settle_late)
    assert prune().events == 1

    assert [each.cost_nanousd for each in UsageEvent.objects.all()] == [9]
    monkeypatch.undo()
    roll_up(now=NOON)
    assert sum(row.calls for row in UsageDaily.objects.all()) == 2
    assert prune().events == 0  # it is in the books of the month in which it was recorded


def test_what_was_broken_off_is_finished_by_the_next_run(acme, monkeypatch):
    for _ in range(5):
        event(acme, occurred_at=OLD, cost_nanousd=5)
    roll_up(now=NOON)
    days = all_tables()
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 2)
    parts = pruning._parts

    def broken_off(rows):
        yield next(parts(rows))
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning, "_parts", broken_off)
    with pytest.raises(KeyboardInterrupt):
        prune()
    monkeypatch.setattr(pruning, "_parts", parts)
    assert UsageEvent.objects.count() == 3
    rebuild(now=NOON)
    assert all_tables() == days

    assert prune().events == 3
    assert not UsageEvent.objects.exists()
    assert all_tables() == days


def test_runs_leave_with_their_calls_but_for_those_that_go_on(acme):
    of = {"organization": acme, "action": "a"}
    ended, goes_on = uuid.uuid4(), uuid.uuid4()
    make = UsageRun.objects.create
    make(**of, run_id=ended, part=0, started_at=OLD)
    make(**of, run_id=ended, part=1, started_at=OLD + timedelta(days=1))
    make(**of, run_id=goes_on, part=0, started_at=OLD)  # by which its later parts are counted
    make(**of, run_id=goes_on, part=20, started_at=NOON)
    make(**of, run_id=uuid.uuid4(), part=0, started_at=BORDER - timedelta(hours=23))

    assert prune(dry_run=True).runs == 2
    assert prune().runs == 2
    assert not UsageRun.objects.filter(run_id=ended).exists()
    assert UsageRun.objects.count() == 3


def test_who_serves_deletes_no_event_and_nobody_changes_one(acme):
    row = event(acme, occurred_at=OLD)
    everything = UsageEvent.objects.filter(pk=row.pk)

    with pytest.raises(IntegrityError, match="append-only"):
        everything.delete()
    if connection.vendor == "postgresql":
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), letting_go("usage_usageevent"):
            everything.delete()
    with as_owner():
        with pytest.raises(IntegrityError, match="append-only"):
            everything.delete()
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), letting_go("usage_usageevent"):
            everything.update(model="another")
        with transaction.atomic(), letting_go("usage_usageevent"):
            everything.delete()
        with pytest.raises(IntegrityError, match="append-only"):
            event(acme, occurred_at=OLD).delete()


def test_nothing_else_that_is_append_only_can_be_let_go(acme):
    AuditEvent.objects.create(organization=acme, action="a.b", seq=1, prev_hash="", hash="", created_at=NOON)

    with as_owner(), pytest.raises(ValueError, match="never leave"), letting_go("organizations_auditevent"):
        pass
    with as_owner(), transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT set_config(%s, 'organizations_auditevent', true)", [VARIABLE])
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            AuditEvent.objects.all().delete()


@pytest.mark.postgresql
def test_two_at_a_time_each_say_what_they_did(acme, globex, monkeypatch):
    for organization in (acme, globex, globex):
        event(organization, occurred_at=OLD)
    roll_up(now=NOON)
    settle()
    seal_due_months(now=NOON, others={})
    second_came, pruned, settle_it = threading.Event(), [], pruning._settle

    def once_another_came(*arguments) -> None:
        assert second_came.wait(20)
        settle_it(*arguments)

    def work() -> None:
        with as_owner():
            pruned.append(pruning.prune_usage(before=BEFORE, waits=second_came.set))

    monkeypatch.setattr(pruning, "_settle", once_another_came)
    monkeypatch.setattr(one_at_a_time, "LOOKS_AGAIN_SECONDS", 0.01)
    for thread in in_threads(work, work):
        thread.join()

    assert sorted(each.events for each in pruned) == [0, 3]
    told = AuditEvent.objects.filter(action="usage.pruned").order_by("organization__slug")
    assert [each.details for each in told] == [{"calls": 1}, {"calls": 2}]


# The command --------------------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    out = StringIO()
    with as_owner():
        call_command("prune_usage", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_what_would_leave_and_then_has_it_leave(acme):
    old = clock.now() - timedelta(days=500)
    event(acme, occurred_at=old)
    event(acme, occurred_at=clock.now())
    roll_up(now=clock.now())
    call_command("seal_months", stdout=StringIO())
    before = months_before(clock.now().date(), 13)

    assert run("--older-than", "13", "--dry-run") == (
        f"1 usage events of before {before} would leave, and 0 runs of theirs.\n"
    )
    assert UsageEvent.objects.count() == 2
    answer = json.loads(run("--older-than", "13", "--json"))

    assert answer == {"before": str(before), "events": 1, "runs": 0, "files": [], "dry_run": False}
    assert UsageEvent.objects.count() == 1


def test_the_command_refuses_with_a_sentence(acme):
    event(acme, occurred_at=OLD - timedelta(days=900))

    for months in ("2", "-13", "99999", "1e1"):
        with pytest.raises(CommandError, match=f"“{months}” is no whole number from 3 to 1200"):
            run("--older-than", months)
    with pytest.raises(CommandError, match="not in the daily figures yet"):
        run("--older-than", "12")


@pytest.mark.parametrize(
    ("months", "first"), [(0, (2026, 3, 1)), (2, (2026, 1, 1)), (3, (2025, 12, 1)), (26, (2024, 1, 1))]
)
def test_months_are_those_of_the_calendar(months, first):
    assert months_before(date(2026, 3, 31), months) == date(*first)


def test_a_month_leaves_only_once_it_is_sealed(acme):
    event(acme, occurred_at=OLD)
    roll_up(now=NOON)
    settle()

    with as_owner(), pytest.raises(PruneRefused, match="July 2026 of acme is not sealed yet"):
        pruning.prune_usage(before=BEFORE)

    assert UsageEvent.objects.count() == 1
    assert prune().events == 1


def sealed_files(organization) -> dict[date, list[bytes]]:
    """Of the months whose calls are kept. Each is held against its seal."""
    seals = SealedMonth.objects.for_organization(organization).filter(month__gte=BEFORE)
    return {
        seal.month: [
            b"".join(piece.content for piece in export(organization, name, Month(seal.month)))
            for name in ("csv", "focus")
        ]
        for seal in seals
    }


@pytest.mark.parametrize("leaves_first", [False, True])
def test_what_is_written_after_its_month_was_sealed_leaves_with_the_month_it_is_in(acme, leaves_first):
    """Late rows of July are in the books of August, whether the other calls of July have left by then or not."""
    late_july, late_august, late_september = (datetime(2026, month, 2, tzinfo=UTC) for month in (8, 9, 10))
    first = event(acme, occurred_at=OLD, cost_nanousd=100, price_source="provider")
    roll_up(now=late_july)
    seal_due_months(now=late_july, others={})
    late = [
        event(acme, occurred_at=OLD, cost_nanousd=7, price_source="provider"),
        event(acme, occurred_at=OLD - timedelta(days=90), cost_nanousd=8),  # of before all that was sealed
        event(
            acme,
            call_id=first.call_id,
            occurred_at=OLD,
            revision=1,
            status="corrected",
            cost_nanousd=-1,
            price_source="provider",
            counts_run=False,
            counts_priced_run=False,
        ),
    ]
    roll_up(now=late_july)
    days = all_tables()

    def prune_july() -> None:
        settle()
        with as_owner():
            assert pruning.prune_usage(before=BEFORE).events == 1

    if leaves_first:
        prune_july()
        late.append(event(acme, occurred_at=OLD, cost_nanousd=9))
        roll_up(now=late_august)
        days = all_tables()
    event(acme, occurred_at=BORDER, cost_nanousd=50)
    roll_up(now=late_september)
    seal_due_months(now=late_september, others={})
    files = sealed_files(acme)
    if not leaves_first:
        prune_july()

    assert sealed_files(acme) == files
    august = files[BEFORE][0].decode()
    assert all(str(each.call_id) in august for each in late)
    assert {each.pk for each in late} < set(UsageEvent.objects.values_list("pk", flat=True))
    assert prune() == Pruned(BEFORE, 0, 0)
    call_command("seal_months", "--verify", stdout=StringIO())
    assert not check_usage(now=NOON).differences
    rebuild(now=NOON)
    assert {key: row for key, row in all_tables()[0].items() if key in days[0]} == days[0]

    settle()
    with as_owner():
        assert pruning.prune_usage(before=date(2026, 9, 1)).events == len(late) + 1
    assert not UsageEvent.objects.exists()
    call_command("seal_months", "--verify", stdout=StringIO())


def test_what_is_in_no_month_that_will_be_sealed_leaves_by_its_own(acme):
    platform = Organization.objects.create(name="Platform", slug="platform", is_platform=True)
    event(acme, occurred_at=OLD)
    event(platform, occurred_at=OLD)
    acme.closed_at = BORDER - timedelta(hours=1)
    acme.save()
    roll_up(now=NOON)
    settle()
    seal_due_months(now=NOON, others={})
    event(acme, occurred_at=OLD)
    roll_up(now=NOON)

    assert prune().events == 3


@pytest.mark.parametrize("period", [Month(date(2026, 7, 1)), Days(date(2026, 7, 1), date(2026, 8, 1))])
def test_a_file_that_is_read_while_its_calls_leave_is_said_to_have_left(acme, monkeypatch, period):
    for _ in range(3):
        event(acme, occurred_at=OLD)
    roll_up(now=NOON)
    settle()
    seal_due_months(now=NOON, others={})
    monkeypatch.setattr(books, "AT_ONCE", 1)

    pieces = export(acme, "csv", period)
    next(pieces)
    next(pieces)

    prune()

    with pytest.raises(BadPeriod, match="Calls of before 2026-08-01 are not kept"):
        list(pieces)
    assert not AuditEvent.objects.filter(action="sealed_month.found_changed").exists()


def test_no_file_is_made_of_a_month_whose_calls_have_left(acme):
    for left in (OLD, BORDER):
        event(acme, occurred_at=left)
    roll_up(now=NOON)
    prune()

    for period in (Month(date(2026, 7, 1)), Days(date(2026, 7, 31), date(2026, 8, 1))):
        with pytest.raises(BadPeriod, match="Calls of before 2026-08-01 are not kept one by one any more"):
            export(acme, "csv", period)
    assert b"".join(piece.content for piece in export(acme, "csv", Month(BEFORE)))
    assert b"".join(piece.content for piece in export(acme, "credits", Month(date(2026, 7, 1))))
    out = StringIO()
    call_command("seal_months", "--verify", stdout=out)
    assert "Of 2 more the calls are not kept any more." in out.getvalue()
