"""Keys changed by several people and workers at once. On SQLite there is one writer, so nothing can overlap there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection

from providers.adapters.secret import Secret
from providers.custody import sealing
from providers.keys.replacement import replace_provider_key
from providers.keys.validation import validate_key
from providers.models import KeyValidation, ProviderKey
from routing.actions import ACTIONS
from routing.models import RoutingRule
from routing.services import RuleRefused, remove_provider_key, save_routing
from tests.builders import NOW, connect_key

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: SQLite has one writer"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("simulated_providers"),
]
Status = ProviderKey.Status
ROUNDS = 8
MODEL = "openai/gpt-4.1-mini"


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returned; every one in a thread with a connection of its own. Raises what a call raised."""
    start = threading.Barrier(len(calls), timeout=30)

    def run(call: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            start.wait()
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def replaced(key: ProviderKey, number: int) -> ProviderKey:
    secret = Secret(f"sk-or-v1-simulated-valid-{number:04d}")
    return replace_provider_key(key=key, secret=secret, actor=None, now=NOW)


def waiting(key: ProviderKey) -> int:
    return KeyValidation.objects.create(
        organization=key.organization, key=key, secret_version=key.secret_version, requested_at=NOW
    ).pk


def secret_of(key: ProviderKey) -> str:
    return sealing.sealed_key(ProviderKey.objects.get(pk=key.pk)).open().reveal()


def test_of_replacements_at_once_one_is_pending_and_opens(acme):
    key = connect_key(acme)

    at_once(*(partial(replaced, key, number) for number in range(2, 10)))

    pending = key.replacements.get()
    assert secret_of(pending).endswith(pending.last4)
    assert secret_of(key) == "sk-or-v1-simulated-valid-0001"


def test_a_replacement_beside_a_validation_that_ends_leaves_the_newest_secret_waiting_or_serving(acme):
    key = connect_key(acme)
    for number in range(2, 2 + 2 * ROUNDS, 2):
        pending = replaced(key, number)
        late = waiting(pending)

        at_once(
            partial(validate_key, validation_id=late, now=NOW),
            partial(replaced, key, number + 1),
        )

        key.refresh_from_db()
        newest = key.replacements.get()
        assert key.status == Status.CONNECTED
        assert secret_of(key).endswith(key.last4)
        assert secret_of(newest).endswith(f"{number + 1:04d}"), "the one pasted last is never lost"
        validate_key(validation_id=waiting(newest), now=NOW)
        assert secret_of(key).endswith(f"{number + 1:04d}")


def test_keys_removed_in_favour_of_each_other_at_once_leave_one_that_serves(acme):
    for _ in range(ROUNDS):
        one, two = (connect_key(acme, label=label) for label in ("One", "Two"))
        for action, key in zip(list(ACTIONS)[:2], (one, two), strict=True):
            save_routing(organization=acme, action=action, key=key, model=MODEL, actor=None)

        def remove(key, successor):
            try:
                remove_provider_key(key=key, successor=successor, model=MODEL, actor=None)
            except (RuleRefused, ProviderKey.DoesNotExist):
                return False
            return True

        answers = at_once(partial(remove, one, two), partial(remove, two, one))

        assert sorted(answers) == [False, True]
        assert set(RoutingRule.objects.values_list("key", flat=True)) == {ProviderKey.objects.get().pk}
        RoutingRule.objects.all().delete()
        ProviderKey.objects.all().delete()


def test_two_workers_with_the_same_validation_take_over_once(acme):
    key = connect_key(acme)
    late = waiting(replaced(key, 2))

    at_once(*[lambda: validate_key(validation_id=late, now=NOW)] * 4)

    key.refresh_from_db()
    assert (key.secret_version, key.last4) == (2, "0002")
    assert ProviderKey.objects.get() == key
