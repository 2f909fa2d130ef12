from __future__ import annotations

import json
import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from organizations.models import AuditEvent, Organization
from providers.adapters.secret import Secret
from providers.custody import rotation, sealing
from providers.custody.inspection import check_secrets
from providers.custody.rotation import rotate_master_key, rotate_organization_key
from providers.custody.sealing import SealBroken
from providers.keys.replacement import replace_provider_key
from providers.keys.saving import save_provider_key
from providers.models import OrganizationKey, ProviderKey
from tests.builders import NOW, complete
from tests.providers.master_keys import NEW, OLD, master_keys

PASTED = "sk-or-v1-simulated-rotation-0123456789"


def torn(key: ProviderKey) -> bytes:
    """Its ciphertext with one bit that is another."""
    ciphertext = bytes(key.ciphertext)
    return ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])


def save(organization, label="Default", pasted=PASTED) -> ProviderKey:
    return save_provider_key(
        organization=organization, provider="openrouter", secret=Secret(pasted), label=label, actor=None, now=NOW
    )


def opened(key: ProviderKey) -> str:
    return sealing.sealed_key(ProviderKey.objects.get(pk=key.pk)).open().reveal()


def seven_organizations() -> list[ProviderKey]:
    return [save(Organization.objects.create(name=f"Org {n}", slug=f"org-{n}")) for n in range(7)]


def command(name: str, *arguments: str) -> tuple[int, dict]:
    out = StringIO()
    try:
        call_command(name, *arguments, "--json", stdout=out)
    except SystemExit as left:
        return int(str(left.code)), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


# Master keys


def test_after_a_master_rotation_the_first_master_key_alone_opens_everything(db):
    keys = seven_organizations()
    sealed = {key.pk: bytes(key.ciphertext) for key in keys}
    with master_keys(NEW, OLD):
        code, answer = command("rotate_master_key", "--batch", "2")

    assert (code, answer["rewrapped"], answer["complete"]) == (0, 7, True)
    assert {key.pk: bytes(key.ciphertext) for key in ProviderKey.objects.all()} == sealed
    with master_keys(NEW):
        assert check_secrets().is_sound
        assert {opened(key) for key in keys} == {PASTED}
    assert len(check_secrets().broken_organization_keys) == 7


def test_a_master_rotation_never_opens_a_provider_key(acme, monkeypatch):
    save(acme)
    monkeypatch.setattr(sealing.SealedKey, "open", lambda sealed: pytest.fail("A provider key was opened."))
    with master_keys(NEW, OLD):
        assert rotate_master_key().is_complete


def test_a_master_rotation_killed_in_the_middle_is_finished_by_the_next(db, monkeypatch):
    keys = seven_organizations()
    store = rotation._store_token
    stored: list[int] = []

    def killed(pk, before, after):
        if len(stored) == 4:
            raise KeyboardInterrupt
        stored.append(pk)
        return store(pk, before, after)

    with master_keys(NEW, OLD):
        monkeypatch.setattr(rotation, "_store_token", killed)
        with pytest.raises(KeyboardInterrupt):
            rotate_master_key(batch=2)
        monkeypatch.setattr(rotation, "_store_token", store)
        assert {opened(key) for key in keys} == {PASTED}

        second, third = rotate_master_key(batch=2), rotate_master_key()

    assert (second.rewrapped, second.is_complete) == (3, True)
    assert third.rewrapped == 0


def test_a_master_rotation_says_what_no_master_key_opens(acme, globex):
    save(acme)
    with master_keys("a-third-master-key-for-tests-0123456789-abc"):
        save(globex)
    with master_keys(NEW, OLD):
        code, answer = command("rotate_master_key")

    assert (code, answer["rewrapped"], answer["complete"]) == (1, 1, False)
    assert answer["unreadable"] == [OrganizationKey.objects.only("pk").get(organization=globex).pk]


def test_what_was_wrapped_under_the_old_key_behind_the_rotation_is_named_by_its_report(acme, globex, monkeypatch):
    save(acme)
    batches = rotation._batches

    def one_more_comes_after_the_first_pass(size):
        yield from batches(size)
        if not OrganizationKey.objects.filter(organization=globex).exists():
            with master_keys(OLD):
                save(globex)

    monkeypatch.setattr(rotation, "_batches", one_more_comes_after_the_first_pass)
    with master_keys(NEW, OLD):
        late = rotate_master_key()
        assert list(late.under_old_key) == [OrganizationKey.objects.get(organization=globex).pk]
        assert rotate_master_key().is_complete


# check_secrets


def test_check_secrets_counts_what_opens_and_names_what_does_not(acme, globex):
    complete(acme, globex)
    save(acme)
    sound = command("check_secrets")
    bad = save(globex)
    ProviderKey.objects.filter(pk=bad.pk).update(ciphertext=torn(bad))

    code, answer = command("check_secrets")

    assert sound == (
        0,
        {
            "organization_keys": 1,
            "provider_keys": 1,
            "second_factors": 0,
            "broken_organization_keys": [],
            "broken_provider_keys": [],
            "broken_second_factors": [],
            "problems": [],
            "sound": True,
        },
    )
    assert code == 1
    assert answer["broken_provider_keys"] == [str(bad.pk)]
    assert answer["broken_organization_keys"] == []


def test_check_secrets_under_a_foreign_master_key_fails_and_prints_no_key(acme):
    key = save(acme)
    out = StringIO()
    with master_keys(NEW), pytest.raises(SystemExit) as left:
        call_command("check_secrets", stdout=out)

    assert left.value.code == 1
    assert "0 of 1 organization keys open." in out.getvalue()
    assert str(key.pk) in out.getvalue()
    assert PASTED not in out.getvalue()


def test_after_the_loss_of_a_master_key_what_it_wrapped_is_forgotten_and_keys_can_be_pasted_again(acme, globex):
    lost = save(acme)
    with master_keys(NEW):
        kept = save(globex)
        with pytest.raises(CommandError, match="--yes"):
            call_command("forget_unreadable_keys")
        assert OrganizationKey.objects.count() == 2

        call_command("forget_unreadable_keys", "--yes")
        replace_provider_key(key=lost, secret=Secret(PASTED), actor=None, now=NOW)

        assert (opened(lost), opened(kept)) == (PASTED, PASTED)
        assert check_secrets().is_sound
    assert AuditEvent.objects.get(action="organization_key.forgotten").organization == acme


# Organization keys


def test_an_organization_rotation_moves_every_key_and_deletes_the_old_version(acme, globex, alice):
    keys = [save(acme), save(acme, "second")]
    before = {bytes(key.ciphertext) for key in keys}
    other = save(globex)

    result = rotate_organization_key(organization=acme, actor=alice)

    assert (result.version, result.resealed, list(result.deleted_versions)) == (2, 2, [1])
    assert [key.version for key in OrganizationKey.objects.filter(organization=acme)] == [2]
    assert {opened(key) for key in [*keys, other]} == {PASTED}
    assert not before & {bytes(key.ciphertext) for key in ProviderKey.objects.all()}
    event = AuditEvent.objects.get(action="organization_key.rotated")
    assert (event.actor, event.target) == (alice, "version 2")


def test_an_interrupted_organization_rotation_is_finished_by_the_next_without_a_third_version(acme, monkeypatch):
    keys = [save(acme, f"Key {n}") for n in range(5)]
    reseal = sealing.reseal
    done: list[object] = []

    def killed(key, organization_key):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(key.pk)
        reseal(key, organization_key)

    monkeypatch.setattr(sealing, "reseal", killed)
    with pytest.raises(KeyboardInterrupt):
        rotate_organization_key(organization=acme, actor=None)
    monkeypatch.setattr(sealing, "reseal", reseal)
    assert {opened(key) for key in keys} == {PASTED}

    result = rotate_organization_key(organization=acme, actor=None)

    assert (result.version, result.resealed, list(result.deleted_versions)) == (2, 3, [1])
    assert {opened(key) for key in keys} == {PASTED}
    assert rotate_organization_key(organization=acme, actor=None).version == 3


def test_a_replace_in_the_middle_of_an_organization_rotation_wins(acme, monkeypatch):
    key = save(acme)
    reseal = sealing.reseal

    def replaced_meanwhile(row, organization_key):
        reseal(row, organization_key)
        monkeypatch.setattr(sealing, "reseal", reseal)
        replace_provider_key(key=key, secret=Secret("sk-or-v1-simulated-newer-key-000"), actor=None, now=NOW)

    monkeypatch.setattr(sealing, "reseal", replaced_meanwhile)
    result = rotate_organization_key(organization=acme, actor=None)

    assert opened(key) == "sk-or-v1-simulated-newer-key-000"
    assert result.is_complete
    assert check_secrets().is_sound


def test_a_key_that_is_removed_in_the_middle_of_an_organization_rotation_holds_nothing_up(acme, monkeypatch):
    first, second = sorted([save(acme), save(acme, "second")], key=lambda key: key.pk)
    reseal = sealing.reseal

    def removed_meanwhile(row, organization_key):
        reseal(row, organization_key)
        ProviderKey.objects.filter(pk=second.pk).delete()

    monkeypatch.setattr(sealing, "reseal", removed_meanwhile)
    result = rotate_organization_key(organization=acme, actor=None)

    assert (result.resealed, result.broken, result.deleted_versions) == (1, [], [1])
    assert opened(first) == PASTED


def test_a_broken_key_that_is_replaced_in_the_middle_of_a_rotation_is_not_named(acme, monkeypatch):
    key = save(acme)
    ProviderKey.objects.filter(pk=key.pk).update(ciphertext=torn(key))
    reseal = sealing.reseal

    def replaced_meanwhile(row, organization_key):
        if row.pk == key.pk:
            replace_provider_key(key=key, secret=Secret("sk-or-v1-simulated-newer-key-000"), actor=None, now=NOW)
        reseal(row, organization_key)

    monkeypatch.setattr(sealing, "reseal", replaced_meanwhile)
    result = rotate_organization_key(organization=acme, actor=None)

    assert result.is_complete
    assert opened(key) == "sk-or-v1-simulated-newer-key-000"


def test_a_key_that_does_not_open_is_named_and_stops_neither_this_rotation_nor_the_next(acme):
    good, bad = save(acme), save(acme, "bad")
    ProviderKey.objects.filter(pk=bad.pk).update(ciphertext=torn(bad))

    code, answer = command("rotate_organization_key", "--organization", "acme")

    assert (code, answer["resealed"], answer["deleted_versions"]) == (1, 1, [])
    assert answer["broken"] == [str(bad.pk)]
    assert opened(good) == PASTED
    assert rotate_organization_key(organization=acme, actor=None).version == 3


def test_a_call_that_read_its_key_before_the_rotation_still_opens_it(acme):
    key = save(acme)
    read_before = ProviderKey.objects.get(pk=key.pk)
    rotate_organization_key(organization=acme, actor=None)

    assert sealing.sealed_key(read_before).open().reveal() == PASTED


def test_a_call_that_read_its_key_before_rotation_and_move_of_destination_does_not_open_it(acme):
    key = save(acme)
    read_before = ProviderKey.objects.get(pk=key.pk)
    rotate_organization_key(organization=acme, actor=None)
    ProviderKey.objects.update(origin="https://elsewhere.example")

    with pytest.raises(SealBroken):
        sealing.sealed_key(read_before)


def test_rotating_names_an_organization_that_is_not_there(db):
    with pytest.raises(CommandError, match="no open organization"):
        call_command("rotate_organization_key", "--organization", "nobody")


def test_rotating_under_a_foreign_master_key_says_so_and_changes_nothing(acme):
    save(acme)
    with master_keys(NEW), pytest.raises(CommandError, match="does not open"):
        call_command("rotate_organization_key", "--organization", "acme")
    assert check_secrets().is_sound


# Under load


def in_threads(*jobs) -> list[threading.Thread]:
    def with_own_connection(job) -> None:
        try:
            job()
        finally:
            connection.close()

    threads = [threading.Thread(target=with_own_connection, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency: the PostgreSQL pass")
@pytest.mark.django_db(transaction=True)
def test_calls_saves_and_replaces_go_on_during_rotations_of_both_kinds(acme):
    keys = [save(acme, f"Key {n}") for n in range(6)]
    over = threading.Event()
    failures: list[str] = []
    opens: list[int] = []
    last_pasted: dict[int, str] = {}

    def guarded(work):
        def job() -> None:
            turn = 0
            while not over.is_set():
                turn += 1
                try:
                    work(turn)
                except Exception as error:
                    failures.append(repr(error))

        return job

    def call(turn):
        key = ProviderKey.objects.get(pk=keys[turn % 6].pk)
        assert sealing.sealed_key(key).open().reveal().startswith("sk-or-v1-simulated-")
        opens.append(turn)

    def replace(number):
        def work(turn):
            last_pasted[number] = f"sk-or-v1-simulated-{number}-{turn:012}"
            replace_provider_key(key=keys[number], secret=Secret(last_pasted[number]), actor=None, now=NOW)

        return work

    def add(turn):
        save(acme, f"More {turn}")
        ProviderKey.objects.filter(label=f"More {turn - 5}").delete()

    with master_keys(NEW, OLD):
        jobs = [guarded(work) for work in (call, call, call, call, replace(0), replace(1), add)]
        threads = in_threads(*jobs)
        for _ in range(12):
            assert rotate_organization_key(organization=acme, actor=None).is_complete
            assert rotate_master_key().is_complete
        over.set()
        for thread in threads:
            thread.join()
        assert check_secrets().is_sound
        assert {number: opened(keys[number]) for number in last_pasted} == last_pasted

    assert failures == []
    assert len(opens) > 100
    assert OrganizationKey.objects.filter(organization=acme).count() == 1
