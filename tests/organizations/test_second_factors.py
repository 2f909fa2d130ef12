"""Seeds of second factors at rest, and what the commands about master keys do with them."""

from __future__ import annotations

import json
import threading
from importlib import import_module
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction

from config.onboarding import ensure_platform
from organizations import second_factors
from organizations.models import AuditEvent, User
from organizations.second_factors import FactorUnreadable, check_second_factors, rotate_second_factors, seal, unseal
from providers.custody.inspection import master_keys_open_something
from providers.custody.sealing import new_organization_key
from providers.models import OrganizationKey
from tests.builders import complete
from tests.providers.master_keys import NEW, OLD, master_keys

SEED = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
CODES_SEED = "0123456789abcdef" * 5


def app_of(user: User, value: str | None = None) -> Authenticator:
    return Authenticator.objects.create(user=user, type="totp", data={"secret": seal(SEED) if value is None else value})


def codes_of(user: User) -> Authenticator:
    data = {"seed": seal(CODES_SEED), "used_mask": 5, "viewed_at": 1.5}
    return Authenticator.objects.create(user=user, type="recovery_codes", data=data)


def person(number: int) -> User:
    return User.objects.create_user(f"person-{number}@acme.example")


def command(name: str, *arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command(name, *arguments, stdout=out)
    except SystemExit as left:
        return int(str(left.code)), out.getvalue()
    return 0, out.getvalue()


# Sealing


def test_a_seed_opens_again_under_any_of_the_master_keys_and_tells_nothing_sealed():
    token = seal(SEED)

    assert SEED not in token
    assert token != seal(SEED)
    with master_keys(NEW, OLD):
        assert unseal(token) == SEED


@pytest.mark.parametrize("value", [SEED, "", CODES_SEED, None, 7, "gAAAAA", "é" * 40], ids=repr)
def test_what_is_in_clear_or_no_token_at_all_does_not_open(value):
    with pytest.raises(FactorUnreadable):
        unseal(value)


def test_no_altered_token_opens():
    token = seal(SEED)

    for position in range(len(token) - 3):  # the last ones are padding
        other = "B" if token[position] == "A" else "A"
        with pytest.raises(FactorUnreadable):
            unseal(token[:position] + other + token[position + 1 :])


def test_nothing_opens_without_its_master_key():
    token = seal(SEED)

    with master_keys(NEW), pytest.raises(FactorUnreadable):
        unseal(token)


def test_a_wrapped_organization_key_and_a_seed_do_not_open_as_each_other(acme):
    new_organization_key(acme, version=1)
    tokens: Any = OrganizationKey.objects.with_token()
    (wrapped,) = tokens.values_list("token", flat=True)
    field: Any = OrganizationKey._meta.get_field("wrapped")

    with pytest.raises(FactorUnreadable):
        unseal(bytes(wrapped).decode())
    with pytest.raises(InvalidToken):
        Fernet(field.fernet_keys[0]).decrypt(seal(SEED))


# rotate_master_key


def test_after_a_rotation_the_first_master_key_alone_opens_all_and_used_codes_stay_used(db):
    for number in range(5):
        app_of(person(number))
    codes = codes_of(person(5))

    with master_keys(NEW, OLD):
        code, told = command("rotate_master_key", "--json", "--batch", "2")
        again = rotate_second_factors()

    answer = json.loads(told)
    assert code == 0
    assert (answer["second_factors"], answer["second_factors_resealed"], answer["complete"]) == (6, 6, True)
    assert (again.resealed, again.is_complete) == (0, True)
    with master_keys(NEW):
        assert check_second_factors().broken == []
        codes.refresh_from_db()
        assert unseal(codes.data["seed"]) == CODES_SEED
    assert {name: codes.data[name] for name in ("used_mask", "viewed_at")} == {"used_mask": 5, "viewed_at": 1.5}


def test_codes_taken_over_from_elsewhere_are_sealed_anew_one_by_one(alice):
    data = {"migrated_codes": [seal("111-222"), seal("333-444")]}
    codes = Authenticator.objects.create(user=alice, type="recovery_codes", data=data)

    with master_keys(NEW, OLD):
        assert rotate_second_factors().resealed == 1

    codes.refresh_from_db()
    with master_keys(NEW):
        assert [unseal(code) for code in codes.data["migrated_codes"]] == ["111-222", "333-444"]


def test_a_killed_rotation_is_finished_by_the_next(db, monkeypatch):
    for number in range(5):
        app_of(person(number))
    save = Authenticator.save
    saved: list[Authenticator] = []

    def killed(factor, **kwargs):
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(factor)
        save(factor, **kwargs)

    with master_keys(NEW, OLD):
        monkeypatch.setattr(Authenticator, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            rotate_second_factors(batch=1)
        monkeypatch.setattr(Authenticator, "save", save)
        assert check_second_factors().broken == []

        second = rotate_second_factors(batch=1)

    assert (second.resealed, second.is_complete) == (2, True)


def test_a_rotation_is_not_done_while_a_seed_opens_under_no_master_key(alice, bob):
    with master_keys("a-third-master-key-for-tests-0123456789-abc"):
        lost = app_of(bob)
    app_of(alice)

    with master_keys(NEW, OLD):
        code, told = command("rotate_master_key")

    assert code == 1
    assert "1 of 2 second factors were sealed anew." in told
    assert f"These second factors are under none of KEYFARE_MASTER_KEYS (add the one they need): {lost.pk}" in told
    assert "no other one is needed" not in told


def test_what_was_sealed_under_the_old_key_behind_the_rotation_is_named(alice, bob, monkeypatch):
    app_of(alice)
    batches = second_factors._batches

    def one_more_comes_after_the_first_pass(size):
        yield from batches(size)
        if not Authenticator.objects.filter(user=bob).exists():
            with master_keys(OLD):
                app_of(bob)

    monkeypatch.setattr(second_factors, "_batches", one_more_comes_after_the_first_pass)
    with master_keys(NEW, OLD):
        late = rotate_second_factors()

    assert list(late.under_old_key) == [Authenticator.objects.get(user=bob).pk]
    assert not late.is_complete


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite lets one transaction write at a time")
def test_a_recovery_code_used_while_the_rotation_runs_stays_used():
    codes = codes_of(person(1))
    locked, rotated = threading.Event(), threading.Event()

    def use_a_code() -> None:
        with transaction.atomic():
            row = Authenticator.objects.select_for_update().get(pk=codes.pk)
            locked.set()
            rotated.wait(0.3)  # the rotation waits for this row, so this always runs out
            row.data["used_mask"] = 7
            row.save()
        connection.close()

    other = threading.Thread(target=use_a_code)
    other.start()
    locked.wait()
    with master_keys(NEW, OLD):
        result = rotate_second_factors()
        rotated.set()
    other.join()

    codes.refresh_from_db()
    assert (result.resealed, result.is_complete) == (1, True)
    assert codes.data["used_mask"] == 7
    with master_keys(NEW):
        assert unseal(codes.data["seed"]) == CODES_SEED


# check_secrets, forget_unreadable_keys, the start


def test_check_secrets_counts_second_factors_and_names_those_that_do_not_open(acme, alice, bob, ada):
    complete(acme)
    app_of(alice)
    sound = command("check_secrets")
    in_clear, empty = app_of(bob, SEED), Authenticator.objects.create(user=ada, type="totp", data={})

    code, told = command("check_secrets", "--json")

    assert sound[0] == 0
    assert "1 of 1 second factors open." in sound[1]
    assert code == 1
    assert json.loads(told)["broken_second_factors"] == [in_clear.pk, empty.pk]
    assert SEED not in told


def test_passkeys_hold_nothing_sealed(alice):
    Authenticator.objects.create(user=alice, type="webauthn", data={"credential": {}})

    assert check_second_factors().total == 0


def test_after_the_loss_of_a_master_key_its_second_factors_are_forgotten_and_their_people_named(alice, bob):
    platform = ensure_platform()
    app_of(alice), codes_of(alice)
    with master_keys(NEW):
        kept = app_of(bob)
        code, told = command("forget_unreadable_keys", "--yes")

        assert code == 0
        assert "Second factors of 1 people are forgotten." in told
        assert "  alice@acme.example\n" in told
        assert list(Authenticator.objects.values_list("pk", flat=True)) == [kept.pk]
        assert check_second_factors().broken == []
    events = AuditEvent.objects.for_organization(platform).filter(action="second_factor.removed")
    assert [(event.target, event.actor) for event in events] == [(alice.email, None)] * 2


def test_master_keys_fit_a_database_if_a_seed_opens_or_an_organization_key_or_neither_is_there(acme, alice):
    assert master_keys_open_something()
    app_of(alice)
    with master_keys(NEW):
        assert not master_keys_open_something()
        new_organization_key(acme, version=1)
        assert master_keys_open_something()
    assert master_keys_open_something()


# Installations from before


def test_the_migration_seals_what_stood_in_clear_once_and_goes_back(alice, bob):
    migration = import_module("config.migrations.0002_seal_second_factors")
    clear = app_of(alice, SEED)
    codes = Authenticator.objects.create(
        user=alice, type="recovery_codes", data={"seed": CODES_SEED, "used_mask": 3, "viewed_at": 1.5}
    )
    passkey = Authenticator.objects.create(user=alice, type="webauthn", data={"credential": {"id": "x"}})
    sealed = app_of(bob)

    migration.seal(apps, None)
    migration.seal(apps, None)

    before = sealed.data
    for row in (clear, codes, passkey, sealed):
        row.refresh_from_db()
    assert unseal(clear.data["secret"]) == SEED
    assert unseal(codes.data["seed"]) == CODES_SEED
    assert (codes.data["used_mask"], codes.data["viewed_at"]) == (3, 1.5)
    assert passkey.data == {"credential": {"id": "x"}}
    assert sealed.data == before

    migration.unseal(apps, None)
    clear.refresh_from_db()
    assert clear.data == {"secret": SEED}
