"""The audit log cannot be changed, and a change made behind the database's back is found."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import F, ProtectedError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing import ledger
from organizations import audit, services
from organizations.audit_chain import NO_HASH, serialized, verify_audit, verify_audits
from organizations.models import AuditEvent, AuditHead, Membership, Organization
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
from providers.models import ProviderKey
from routing.services import remove_provider_key, save_routing
from tests.builders import complete
from tests.serving_role import as_owner


@contextmanager
def lifted_triggers() -> Iterator[None]:
    """Inside, the log can be tampered with; for tests that end with a rollback."""
    with as_owner():
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                cursor.execute("ALTER TABLE organizations_auditevent DISABLE TRIGGER USER")
            else:
                cursor.execute("DROP TRIGGER organizations_auditevent_append_only_update")
                cursor.execute("DROP TRIGGER organizations_auditevent_append_only_delete")
        yield


def write(organization: Organization, count: int = 5) -> list[AuditEvent]:
    return [
        audit.record(organization=organization, actor=None, action="test.written", target=f"Zoë {number}", n=number)
        for number in range(1, count + 1)
    ]


def test_events_are_numbered_and_chained_per_organization(acme, globex, alice):
    first, second = write(acme, 2)
    other = audit.record(organization=globex, actor=None, action="test.written")

    assert [first.seq, second.seq, other.seq] == [1, 2, 1]
    assert first.prev_hash == other.prev_hash == NO_HASH
    assert second.prev_hash == first.hash
    assert AuditHead.objects.get(organization=acme).hash == second.hash
    assert verify_audit(organization=acme).problem == ""


def test_the_hash_is_the_documented_one_and_anybody_can_recompute_it(acme, alice):
    event = audit.record(organization=acme, actor=alice, action="key.saved", target="Zoë", b=True, a=1, c=None, d="é")
    stored = AuditEvent.objects.get(pk=event.pk)
    time = stored.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    text = (
        f'["keyfare/audit/1",{acme.pk},1,"{NO_HASH}",{alice.pk},"alice@acme.example","key.saved","Zo\\u00eb",'
        f'{{"a":1,"b":true,"c":null,"d":"\\u00e9"}},"{time}"]'
    )

    assert serialized(stored) == text.encode()
    assert stored.hash == hashlib.sha256(text.encode()).hexdigest()


def test_a_known_event_has_the_same_hash_on_every_database(db):
    event = AuditEvent(
        organization_id=7,
        seq=3,
        prev_hash=NO_HASH,
        actor_label="system",
        action="credits.granted",
        target="Trial credits",
        details={"credits": 50},
        created_at=datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC),
    )

    assert serialized(event) == (
        b'["keyfare/audit/1",7,3,"' + b"0" * 64 + b'",null,"system","credits.granted","Trial credits",'
        b'{"credits":50},"2026-01-31T23:59:59.000000Z"]'
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events.update(target="x"),
        lambda events: events.delete(),
        lambda events: events.filter(seq=1)._raw_delete(events.db),
    ],
)
def test_the_database_refuses_to_change_or_delete_an_event(acme, change):
    write(acme)

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        change(AuditEvent.objects.for_organization(acme))

    assert verify_audit(organization=acme).events == 5


def test_a_person_in_the_log_is_not_deleted_and_deactivation_touches_no_event(acme, alice):
    event = audit.record(organization=acme, actor=alice, action="test.written")

    alice.is_active = False
    alice.save()

    with pytest.raises(ProtectedError):
        alice.delete()
    assert AuditEvent.objects.get(pk=event.pk).actor == alice


TAMPERINGS: dict[str, tuple[Callable[[Any], Any], int, str]] = {
    "target": (lambda events: events.filter(seq=3).update(target="Somebody else"), 3, "altered"),
    "details": (lambda events: events.filter(seq=2).update(details={"n": 3}), 2, "altered"),
    "actor": (lambda events: events.filter(seq=4).update(actor_label="mallory@acme.example"), 4, "altered"),
    "time": (lambda events: events.filter(seq=1).update(created_at=datetime(2020, 1, 1, tzinfo=UTC)), 1, "altered"),
    "hash": (lambda events: events.filter(seq=5).update(hash="f" * 64), 5, "altered"),
    "removed first": (lambda events: events.filter(seq=1)._raw_delete("default"), 1, "missing"),
    "removed in the middle": (lambda events: events.filter(seq=3)._raw_delete("default"), 3, "missing"),
    "tail cut": (lambda events: events.filter(seq__gt=3)._raw_delete("default"), 4, "missing"),
    "all removed": (lambda events: events._raw_delete("default"), 1, "missing"),
    "renumbered": (lambda events: events.filter(seq__gt=4).update(seq=F("seq") + 1), 5, "missing"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_and_the_first_broken_event_named(acme, name):
    tamper, broken_seq, word = TAMPERINGS[name]
    write(acme)

    with lifted_triggers():
        tamper(AuditEvent.objects.for_organization(acme))
    report = verify_audit(organization=acme)

    assert report.broken_seq == broken_seq
    assert word in report.problem


def test_an_event_rewritten_with_a_fitting_hash_breaks_the_one_after_it(acme):
    events = write(acme)
    forged = events[2]
    forged.target = "Forged"
    fitting = hashlib.sha256(serialized(forged)).hexdigest()

    with lifted_triggers():
        AuditEvent.objects.filter(pk=forged.pk).update(target="Forged", hash=fitting)
    report = verify_audit(organization=acme)

    assert report.broken_seq == 4
    assert "does not follow" in report.problem


def test_a_rewritten_last_event_or_head_contradicts_the_other(acme):
    write(acme)

    AuditHead.objects.filter(organization=acme).update(hash="e" * 64)

    assert verify_audit(organization=acme).broken_seq == 5


def test_events_moved_to_another_organization_are_found_in_both(acme, globex):
    write(acme)

    with lifted_triggers():
        AuditEvent.objects.filter(seq=5).update(organization=globex)

    assert verify_audit(organization=acme).broken_seq == 5
    assert verify_audit(organization=globex).broken_seq == 1


def write_and_fail(organization: Organization) -> None:
    write(organization, 2)
    raise RuntimeError


# Transactions ---------------------------------------------------------------------------------------------


def test_a_change_that_is_rolled_back_leaves_no_gap(acme):
    write(acme, 1)
    with pytest.raises(RuntimeError), transaction.atomic():
        write_and_fail(acme)
    write(acme, 1)

    assert list(AuditEvent.objects.for_organization(acme).values_list("seq", flat=True).order_by("seq")) == [1, 2]
    assert verify_audit(organization=acme).problem == ""


def test_events_kept_for_last_are_written_in_their_order_when_the_outer_block_ends(acme):
    with transaction.atomic(), audit.events_last():
        write(acme, 1)
        with audit.events_last():
            write(acme, 2)
        assert not AuditEvent.objects.exists()

    assert list(AuditEvent.objects.order_by("seq").values_list("details__n", flat=True)) == [1, 1, 2]


def test_events_kept_for_last_go_with_the_change_that_failed(acme):
    with pytest.raises(RuntimeError), transaction.atomic(), audit.events_last():
        write_and_fail(acme)
    with transaction.atomic(), audit.events_last():
        write(acme, 1)
        transaction.set_rollback(True)

    assert not AuditEvent.objects.exists()


def test_the_migration_chains_what_was_there_before(acme, globex):
    write(acme, 3)
    write(globex, 2)
    AuditHead.objects.all().delete()
    with lifted_triggers():
        AuditEvent.objects.update(seq=F("pk") + 1000, prev_hash="", hash="")

    import_module("organizations.migrations.0003_chain_audit_events").chain(apps, None)

    for organization, count in ((acme, 3), (globex, 2)):
        report = verify_audit(organization=organization)
        assert (report.events, report.problem) == (count, "")


def test_more_organizations_are_no_more_queries(acme, globex, django_assert_max_num_queries):
    write(acme, 3)
    write(globex, 2)
    with CaptureQueriesContext(connection) as of_one:
        verify_audit(organization=acme)

    with django_assert_max_num_queries(len(of_one)):
        reports = list(verify_audits([globex, acme]))

    assert [(each, report.events, report.problem) for each, report in reports] == [(globex, 2, ""), (acme, 3, "")]


# The command ----------------------------------------------------------------------------------------------


def verified(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_command_tells_the_head_of_a_sound_log(acme, globex):
    complete(acme, globex)
    last = write(acme, 4)[-1]

    code, text = verified("--json")
    answer = json.loads(text)

    assert (code, answer["verified"]) == (0, True)
    told = {each["organization"]: each for each in answer["organizations"]}
    assert told["acme"]["head"] == {"seq": 5, "hash": last.hash}
    assert told["globex"]["events"] == 1


def test_the_command_fails_and_names_the_first_broken_event(acme, globex):
    write(acme)
    with lifted_triggers():
        AuditEvent.objects.filter(seq__in=[2, 4]).update(target="x")

    code, text = verified()
    json_code, json_text = verified("--json", "--organization", "acme")

    assert (code, json_code) == (1, 1)
    assert "acme: Event 2 was altered" in text
    assert json.loads(json_text)["organizations"][0]["broken_seq"] == 2
    assert verified("--organization", "globex")[0] == 0


def test_the_command_refuses_an_organization_that_is_not_there(db):
    with pytest.raises(CommandError, match="no organization"):
        verified("--organization", "nobody")


# Pages ----------------------------------------------------------------------------------------------------


def test_the_page_shows_the_numbers_and_says_how_to_prove_them(as_alice, acme):
    events = write(acme, 2)

    page = as_alice.get("/o/acme/audit/").content.decode()

    assert f'title="Hash {events[1].hash}">2</td>' in page
    assert "manage.py verify_audit --organization acme" in page


@pytest.mark.parametrize("model", ["auditevent", "audithead"])
def test_staff_read_the_log_and_change_nothing(as_staff, acme, model):
    write(acme, 1)
    row = (AuditEvent if model == "auditevent" else AuditHead).objects.get()
    base = f"/admin/organizations/{model}/"

    assert as_staff.get(base).status_code == 200
    assert as_staff.get(f"{base}{row.pk}/change/").status_code == 200
    assert as_staff.post(f"{base}{row.pk}/change/", {"target": "x", "seq": 9}).status_code == 403
    assert as_staff.get(f"{base}add/").status_code == 403
    assert as_staff.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert verify_audit(organization=acme).problem == ""


# Many writers at once -------------------------------------------------------------------------------------

at_once = pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: SQLite has one writer")


def connected_keys(organization: Organization, count: int) -> list[ProviderKey]:
    secret, now = Secret("sk-proj-simulated-0001"), timezone.now()
    for number in range(count):
        save_provider_key(
            organization=organization, provider="openai", secret=secret, label=f"Key {number}", actor=None, now=now
        )
    ProviderKey.objects.filter(organization=organization).update(status="connected")
    return list(ProviderKey.objects.filter(organization=organization).order_by("label"))


def run_at_once(calls: Sequence[Callable[[], Any]], threads: int = 8) -> list[Exception]:
    def run(call: Callable[[], Any]) -> Exception | None:
        try:
            call()
        except Exception as error:
            return error
        finally:
            connection.close()
        return None

    with ThreadPoolExecutor(threads) as pool:
        return [error for error in pool.map(run, calls) if error is not None]


@at_once
@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_writers_at_once_make_one_chain(acme, globex):
    errors = run_at_once([lambda: write(acme, 3), lambda: write(globex, 2)] * 30)

    assert errors == []
    assert verify_audit(organization=acme).seq == 90
    assert verify_audit(organization=globex).seq == 60


@at_once
@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_the_chain_waits_with_no_lock_of_ledger_keys_routes_or_members(acme, alice, bob, ada):
    """Everything that records, at once and in any order: no deadlock, and both books are sound."""
    keys = connected_keys(acme, 8)
    membership = Membership.objects.get(user=bob)

    def grant(number: int) -> None:
        ledger.grant_credits(organization=acme, amount=1, reason="x", idempotency_key=f"grant {number}")

    def change_role(number: int) -> None:
        role = ["admin", "member"][number % 2]
        services.change_role(membership=Membership.objects.get(pk=membership.pk), role=role, actor=alice)

    def remove(key: ProviderKey) -> None:
        remove_provider_key(key=key, reset_actions=True, actor=alice)

    def set_window(number: int) -> None:
        services.set_recency_window(organization=acme, days=[30, 60, 90][number % 3], actor=ada)

    calls: list[Callable[[], Any]] = [partial(remove, key) for key in keys]
    for number in range(40):
        calls += [partial(grant, number), partial(change_role, number), partial(set_window, number)]
    random.Random(3).shuffle(calls)

    errors = run_at_once(calls)

    assert errors == []
    assert verify_audit(organization=acme).problem == ""


@at_once
@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_saving_several_routes_at_once_never_deadlocks_on_the_chain(acme, alice):
    keys = connected_keys(acme, 4)
    actions = ["candidate_check", "requirement_generation"]
    for action in actions:
        save_routing(organization=acme, action=action, key=keys[0], model="first", actor=alice)

    def route(number: int) -> None:
        with transaction.atomic(), audit.events_last():
            for action in actions:
                save_routing(organization=acme, action=action, key=keys[1], model=f"m{number}", actor=alice)

    def route_one(number: int) -> None:
        action = actions[number % 2]
        save_routing(organization=acme, action=action, key=keys[2 + number % 2], model=f"n{number}", actor=alice)

    errors = run_at_once([partial(route if number % 3 else route_one, number) for number in range(90)])

    assert errors == []
    assert verify_audit(organization=acme).problem == ""
