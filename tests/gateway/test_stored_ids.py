"""Whose the ids are of what providers keep: one token's, with one key; as digests that tell nothing."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway.models import StoredId
from gateway.stored_ids import KEPT_FOR, Holder, NewIds, are_all_known, forget_old_ids, store_ids
from organizations.tenancy import EVERY, scope
from tests.builders import NOW
from tests.plans import analyze, index_conditions

KEY = uuid.UUID(int=1)


def test_a_digest_is_of_token_key_and_id_and_keyed(settings) -> None:
    digests = {
        Holder(organization, token, key).digest_of(stored_id)
        for organization, token in ((1, 1), (1, 11), (11, 1))
        for key in (KEY, uuid.UUID(int=2))
        for stored_id in ("resp_1", "resp_2", "1 resp_1", "\ud800")
    }
    settings.KEYFARE_DIGEST_KEY = "another of at least thirty-two characters"

    assert len(digests) == 24
    assert Holder(1, 1, KEY).digest_of("resp_1") not in digests


def test_an_id_is_stored_once_and_known_to_its_organization(acme, globex) -> None:
    holder = Holder(acme.pk, 1, KEY)
    with scope(EVERY, "a test"):
        for _ in range(2):
            store_ids([NewIds(holder, ["resp_1", "msg_1", "msg_1"], NOW)])

    for whose, is_known in ((acme, True), (globex, False)):
        with scope(whose, "a test"):
            assert are_all_known(Holder(whose.pk, 1, KEY), ["resp_1", "msg_1"]) is is_known
    with scope(acme, "a test"):
        assert not are_all_known(holder, ["resp_1", "resp_2"])
        assert StoredId.objects.for_organization(acme).count() == 2


@pytest.mark.django_db
def test_they_are_found_and_forgotten_by_index(acme, globex) -> None:
    holders = [Holder(organization.pk, 1, KEY) for organization in (acme, globex)]
    with scope(EVERY, "a test"):
        for holder in holders:
            old, new = NOW - KEPT_FOR - timedelta(seconds=1), NOW - KEPT_FOR
            store_ids([NewIds(holder, [f"old_{number}" for number in range(300)], old)])
            store_ids([NewIds(holder, [f"new_{number}" for number in range(300)], new)])
        analyze("gateway_storedid")
    with scope(acme, "a test"), CaptureQueriesContext(connection) as asked:
        are_all_known(holders[0], ["new_1", "new_2"])
        found = index_conditions(asked[0]["sql"])
    with scope(EVERY, "a test"):
        with CaptureQueriesContext(connection) as deleted:
            forget_old_ids(now=NOW)
        forgotten = index_conditions(deleted[0]["sql"])
        left = StoredId.objects.count()

    assert any("(id" in each for each in found), found
    assert any("stored_at" in each for each in forgotten), forgotten
    assert left == 600
