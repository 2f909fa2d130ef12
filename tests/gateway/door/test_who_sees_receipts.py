"""Which receipts a token may read at the door."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError

from gateway.callers import Caller
from gateway.door import receipts as door
from gateway.door.errors import DoorError
from organizations.models import ApiToken
from organizations.permissions import Permission
from tests.gateway.test_receipts import read
from tests.gateway.test_receipts import token as token
from tests.usage.conftest import event

pytestmark = pytest.mark.django_db(transaction=True)


def caller(token: ApiToken, **more: Any) -> Caller:
    organization = token.organization
    return Caller(token.pk, organization.pk, organization.slug, token.created_by_id, agents={}, direct={}, **more)


def at_door(who: Caller, call: object) -> dict[str, Any]:
    content = json.loads(async_to_sync(door.receipt)(who, str(call)))
    assert isinstance(content, dict)
    return content


def test_a_token_sees_its_own_calls_and_others_where_it_may_view(acme, token):
    (mine, _), (other, _) = token(Permission.CALL_AGENTS), token(Permission.CALL_AGENTS)
    call = event(acme, token_id=mine.pk)

    assert at_door(caller(mine), call.call_id)["token"] == mine.name
    assert at_door(caller(other, may_view=True), call.call_id) == read(acme, call.call_id)
    with pytest.raises(DoorError) as refused:
        at_door(caller(other), call.call_id)
    assert (refused.value.status, refused.value.code) == (404, "unknown_call")


def test_calls_of_checks_have_receipts_for_who_may_view(acme, token):
    viewer, _ = token(Permission.CALL_AGENTS)
    call = event(acme)

    assert at_door(caller(viewer, may_view=True), call.call_id)["token"] is None
    with pytest.raises(DoorError):
        at_door(caller(viewer), call.call_id)


@pytest.mark.parametrize("call_id", ["nonsense", str(uuid.UUID(int=5)), "of globex"])
def test_what_is_not_there_looks_like_what_is_not_theirs(acme, globex, token, call_id):
    viewer, _ = token(Permission.CALL_AGENTS)
    theirs = event(globex, token_id=viewer.pk)

    with pytest.raises(DoorError) as refused:
        at_door(caller(viewer, may_view=True), theirs.call_id if call_id == "of globex" else call_id)

    assert refused.value.status == 404


def test_where_the_database_is_away_the_door_says_to_try_again(acme, token, monkeypatch):
    def away(**asked: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(door, "read_receipt", away)

    with pytest.raises(DoorError) as refused:
        at_door(caller(token(Permission.CALL_AGENTS)[0]), uuid.uuid4())

    assert (refused.value.status, refused.value.can_retry) == (503, True)
