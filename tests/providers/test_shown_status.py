"""
A key whose seal does not open shows as Needs re-entry wherever its status is shown, and serves nothing.

Pages open no key: whoever has to (a start, a validation, a rotation, a call) writes down what it found.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.ledger import balance
from candidates.acceptance import accept_checks
from candidates.models import CandidateCheck
from candidates.worker import run_pending_checks
from config import startup
from gateway import dispatch
from gateway.ticket import Ticket
from organizations.models import Organization
from providers.adapters.secret import Secret
from providers.custody import inspection
from providers.custody.rotation import rotate_organization_key
from providers.custody.sealing import SealedKey
from providers.keys.replacement import replace_provider_key
from providers.keys.validation import validate_key
from providers.models import KeyValidation, OrganizationKey, ProviderKey
from routing.actions import CANDIDATE_CHECK
from routing.resolve import RouteUnavailable, resolve
from routing.services import RuleRefused, save_routing
from tests.builders import (
    NOW,
    connect_key,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)
from tests.providers.master_keys import NEW, OLD, master_keys

pytestmark = pytest.mark.usefixtures("simulated_providers")
KEYS = "/admin/providers/providerkey/"
Status = ProviderKey.Status


def text(response) -> str:
    return response.content.decode()


def flip_a_bit(key: ProviderKey) -> None:
    """Break its seal, which nobody has looked at since."""
    sealed = bytearray(key.ciphertext)
    sealed[-1] ^= 1
    ProviderKey.objects.filter(pk=key.pk).update(ciphertext=bytes(sealed))


def break_seal(key: ProviderKey) -> None:
    """Break it, and let a process start that finds out."""
    flip_a_bit(key)
    assert inspection.look_at_stored_keys() == 1


def validate(key: ProviderKey) -> ProviderKey:
    waiting = KeyValidation.objects.create(
        organization=key.organization, key=key, secret_version=key.secret_version, requested_at=timezone.now()
    )
    validate_key(validation_id=waiting.pk, now=timezone.now())
    return ProviderKey.objects.get(pk=waiting.key_id if key.replaces_id is None else key.replaces_id)


@contextmanager
def reading_only() -> Iterator[None]:
    on, off = {
        "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(on)
        yield
        cursor.execute(off)


def rows(page: str) -> str:
    """The table of an admin list, without its filters."""
    return re.findall(r'<table id="result_list".*?</table>', page, re.DOTALL)[0]


def test_the_admin_list_and_the_page_of_a_key_show_that_it_does_not_open(as_staff, acme):
    key = connect_key(acme)
    sound = rows(text(as_staff.get(KEYS))), text(as_staff.get(f"{KEYS}{key.pk}/change/"))
    break_seal(key)
    broken = rows(text(as_staff.get(KEYS))), text(as_staff.get(f"{KEYS}{key.pk}/change/"))

    assert ["Needs re-entry" in page for page in sound] == [False, False]
    assert ["Needs re-entry" in page for page in broken] == [True, True]
    assert "Paste it again" in broken[1]
    assert ProviderKey.objects.get().status == Status.CONNECTED


def test_the_admin_filters_by_the_status_that_it_shows(as_staff, acme):
    break_seal(connect_key(acme, label="Torn"))
    connect_key(acme, label="Sound")

    def found(status):
        page = rows(text(as_staff.get(KEYS, {"status": status})))
        return {label for label in ("Torn", "Sound") if label in page}

    assert found("needs_reentry") == {"Torn"}
    assert found("connected") == {"Sound"}


def test_a_longer_admin_list_takes_no_more_queries(as_staff, acme, globex, django_assert_max_num_queries):
    connect_key(acme)
    as_staff.get(KEYS)
    with django_assert_max_num_queries(100) as few:
        as_staff.get(KEYS)
    for number in range(3):
        connect_key(acme, label=f"Key {number}")
        connect_key(globex, label=f"Key {number}")

    with django_assert_max_num_queries(len(few)):
        as_staff.get(KEYS)


def test_the_rules_in_the_admin_show_it_too(as_staff, acme):
    break_seal(route_to_own_key(acme))

    assert "Needs re-entry" in text(as_staff.get("/admin/routing/routingrule/"))


def test_more_rules_in_the_admin_are_no_more_queries(as_staff, acme, globex, django_assert_max_num_queries):
    route_to_own_key(acme)
    as_staff.get("/admin/routing/routingrule/")
    with django_assert_max_num_queries(100) as few:
        as_staff.get("/admin/routing/routingrule/")
    route_to_own_key(globex)

    with django_assert_max_num_queries(len(few)):
        as_staff.get("/admin/routing/routingrule/")


def test_the_routing_table_shows_it_and_says_why_the_action_does_not_run(as_alice, acme):
    key = route_to_own_key(acme)
    break_seal(key)
    page = text(as_alice.get("/o/acme/settings/routing/"))

    assert f'<option value="{key.pk}" selected>OpenRouter · Default (Needs re-entry)</option>' in page
    assert "whose status is Needs re-entry" in page


def test_a_key_that_does_not_open_cannot_be_chosen(as_alice, acme):
    key = connect_key(acme)
    break_seal(key)

    assert str(key.pk) not in text(as_alice.get("/o/acme/settings/routing/"))
    with pytest.raises(RuleRefused):
        save_routing(organization=acme, action=CANDIDATE_CHECK.slug, key=key, model="openai/gpt-4.1-mini", actor=None)


def test_calls_leave_with_the_oldest_managed_key_that_opens(acme):
    first = connect_managed_key()
    second = connect_key(first.organization, label="Second")
    break_seal(first)

    assert resolve(organization=acme, action=CANDIDATE_CHECK.slug).key_id == second.pk


def test_no_call_is_admitted_with_a_key_that_does_not_open(acme):
    key = route_to_own_key(acme)
    route = resolve(organization=acme, action=CANDIDATE_CHECK.slug)
    flip_a_bit(key)

    with pytest.raises(RouteUnavailable, match=r"Needs re-entry.*Paste it again"):
        dispatch.prepare(organization=acme, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)
    with pytest.raises(RouteUnavailable, match=r"Needs re-entry.*Paste it again"):
        resolve(organization=acme, action=CANDIDATE_CHECK.slug)


def test_a_seal_that_breaks_on_the_way_fails_the_check_free_of_charge_and_writes_no_verdict(acme, monkeypatch):
    key = route_to_own_key(acme)
    give_credits(acme, 10)
    briefing = write_briefing(acme, ("Knows Django", "must"))
    people = import_people(acme, "Django for ten years.")
    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=timezone.now())
    prepare = dispatch.prepare_many

    def broken_afterwards(**arguments):
        (ticket,) = prepare(**arguments)
        assert isinstance(ticket, Ticket)
        sealed = ticket.sealed_key
        return [replace(ticket, sealed_key=replace(sealed, associated_data=sealed.associated_data + b"x"))]

    monkeypatch.setattr(dispatch, "prepare_many", broken_afterwards)
    run_pending_checks(organization_id=acme.pk)

    check = CandidateCheck.objects.get()
    assert (check.status, check.charged) == ("failed", 0)
    assert "Paste it again" in check.why_failed
    assert balance(organization=acme).available == 10
    key.refresh_from_db()
    assert (key.status, key.break_notice) == (Status.CONNECTED, "")


def test_keys_of_many_organizations_are_tried_with_one_query(acme, globex, django_assert_num_queries):
    for organization in (acme, globex):
        connect_key(organization)
        connect_key(organization, label="Second")
    keys = list(ProviderKey.objects.all())

    with django_assert_num_queries(1):
        assert inspection.look_at(keys) == []


def test_one_organization_key_that_does_not_unwrap_breaks_no_other(acme, globex):
    connect_key(acme), connect_key(globex)
    with master_keys(NEW):
        newcomer = Organization.objects.create(name="Initech", slug="initech")
        lost = connect_key(newcomer)
    assert OrganizationKey.objects.count() == 3

    assert inspection.look_at(list(ProviderKey.objects.all())) == [lost.pk]
    assert [key.pk for key in ProviderKey.objects.all() if not key.is_usable] == [lost.pk]


# What is remembered, and until when


def states() -> list[str]:
    return [key.state.label for key in ProviderKey.objects.order_by("created_at", "label")]


def test_a_key_is_as_good_as_before_once_its_master_key_is_back_at_a_start(acme, globex):
    connect_key(acme)
    with master_keys(NEW):
        connect_key(globex)  # so that a process with this key alone may start
        assert inspection.look_at_stored_keys() == 1
        missing = states()
    with master_keys(NEW, OLD):
        assert inspection.look_at_stored_keys() == 0

    assert sorted(missing) == ["Connected", "Needs re-entry"]
    assert states() == ["Connected", "Connected"]


def test_check_secrets_remembers_what_it_found(acme):
    connect_key(acme, label="Sound")
    flip_a_bit(connect_key(acme, label="Torn"))

    inspection.check_secrets()

    assert states() == ["Connected", "Needs re-entry"]


def test_check_secrets_with_master_keys_that_fit_nothing_says_nothing_of_any_key(acme):
    connect_key(acme)

    with master_keys(NEW):
        assert not inspection.check_secrets().is_sound

    assert states() == ["Connected"]


def test_a_call_remembers_that_its_key_does_not_open(as_alice, acme):
    key = route_to_own_key(acme)
    route = resolve(organization=acme, action=CANDIDATE_CHECK.slug)
    flip_a_bit(key)

    with pytest.raises(RouteUnavailable, match="Paste it again"):
        dispatch.prepare(organization=acme, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)

    assert states() == ["Needs re-entry"]
    assert "Needs re-entry" in text(as_alice.get("/o/acme/settings"))


def test_a_call_reads_the_organization_key_once(acme):
    route_to_own_key(acme)
    route = resolve(organization=acme, action=CANDIDATE_CHECK.slug)

    with CaptureQueriesContext(connection) as asked:
        dispatch.prepare(organization=acme, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)

    assert sum("providers_organizationkey" in query["sql"] for query in asked) == 1


def test_what_another_process_could_not_open_is_tried_before_it_is_refused(acme):
    key = route_to_own_key(acme)
    with master_keys(NEW):  # of a process that was started with other master keys
        inspection.look_at([key])
    assert states() == ["Needs re-entry"]

    route = resolve(organization=acme, action=CANDIDATE_CHECK.slug)
    dispatch.prepare(organization=acme, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)

    assert states() == ["Connected"]


def test_checks_are_accepted_on_a_key_that_opens_here(acme):
    key = route_to_own_key(acme)
    give_credits(acme, 10)
    briefing = write_briefing(acme, ("Knows Django", "must"))
    people = import_people(acme, "Django for ten years.")
    with master_keys(NEW):
        inspection.look_at([key])

    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=timezone.now())

    assert states() == ["Connected"]


def test_a_managed_key_is_tried_again_too(acme):
    key = connect_managed_key()
    with master_keys(NEW):
        inspection.look_at([key])

    assert resolve(organization=acme, action=CANDIDATE_CHECK.slug).key_id == key.pk


def test_a_validation_remembers_whether_the_key_opens_and_tells_whoever_manages_it(acme):
    key = connect_key(acme)
    with master_keys(NEW):
        validated = validate(key)
        broken = states()
    mended = validate(key)

    assert (validated.status, validated.break_notice, broken) == (Status.NEEDS_REENTRY, "due", ["Needs re-entry"])
    assert (mended.status, mended.unreadable_since, mended.break_notice) == (Status.CONNECTED, None, "")


def test_a_replaced_key_is_readable_again(acme):
    key = connect_key(acme)
    break_seal(key)

    pending = replace_provider_key(
        key=key, secret=Secret("sk-or-v1-simulated-valid-0002"), actor=None, now=timezone.now()
    )
    validate(pending)

    assert states() == ["Connected"]


def test_a_rotation_remembers_what_it_could_not_move(acme):
    connect_key(acme, label="Sound")
    flip_a_bit(connect_key(acme, label="Torn"))

    rotate_organization_key(organization=acme, actor=None)

    assert states() == ["Connected", "Needs re-entry"]


def test_what_is_forgotten_with_its_master_key_shows_so_before_any_start(acme):
    connect_key(acme)

    with master_keys(NEW):
        inspection.forget_unreadable()

    assert states() == ["Needs re-entry"]


def test_a_key_that_was_replaced_while_it_was_looked_at_is_not_marked(acme):
    key = connect_key(acme)
    flip_a_bit(key)
    read_before = ProviderKey.objects.get()
    replace_provider_key(key=key, secret=Secret("sk-or-v1-simulated-valid-0002"), actor=None, now=timezone.now())
    validate(ProviderKey.objects.get(replaces=key))

    with master_keys(NEW):
        inspection.look_at([read_before])

    assert states() == ["Connected"]


@pytest.mark.django_db(transaction=True)
def test_on_a_database_for_reading_only_a_start_goes_on_and_says_so(acme, caplog, monkeypatch):
    monkeypatch.setattr(connection, "close", lambda: None)
    flip_a_bit(connect_key(acme))
    with reading_only():
        startup._look_at_stored_keys(None)

    assert "could not be written down" in caplog.text
    assert "Provider keys that do not open, and show as Needs re-entry: 1." in caplog.text
    assert states() == ["Connected"]


@pytest.mark.parametrize("is_broken", [False, True], ids=["sound", "torn"])
def test_no_page_opens_a_key_to_show_its_status(as_alice, as_staff, acme, monkeypatch, is_broken):
    key = route_to_own_key(acme)
    if is_broken:
        break_seal(key)
    connect_managed_key()
    briefing = write_briefing(acme, ("Knows Django", "must"))
    (person,) = import_people(acme, "Django for ten years.")
    opened: list[SealedKey] = []
    monkeypatch.setattr(SealedKey, "open", lambda self: opened.append(self))
    monkeypatch.setattr(OrganizationKey, "from_db", classmethod(lambda *_: pytest.fail("reads an organization key")))

    pages = [
        as_alice.get("/o/acme/"),
        as_alice.get("/o/acme/settings"),
        as_alice.get("/o/acme/settings/routing/"),
        as_alice.get(f"/o/acme/settings/keys/{key.pk}/status/"),
        as_alice.get(f"/o/acme/settings/keys/{key.pk}/replace/"),
        as_alice.get(f"/o/acme/settings/keys/{key.pk}/remove/"),
        as_alice.get(f"/o/acme/briefings/{briefing.pk}/"),
        as_alice.post(f"/o/acme/briefings/{briefing.pk}/quote/", {"candidates": person.pk}),
        as_alice.get("/o/acme/credits/"),
        as_staff.get(KEYS),
        as_staff.get(KEYS, {"status": "needs_reentry"}),
        as_staff.get(f"{KEYS}{key.pk}/change/"),
        as_staff.get("/admin/routing/routingrule/"),
        as_staff.get("/admin/routing/manageddefault/"),
    ]

    assert {page.status_code for page in pages} == {200}
    assert opened == []
