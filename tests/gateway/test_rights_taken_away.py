"""Whatever takes a right away holds in another process: one is started, and says what calls with a token get there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from queue import Queue
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from organizations import clock
from organizations.api_tokens import revoke_token
from organizations.models import Membership, Organization, User
from providers.adapters.secret import Secret
from providers.custody import sealing
from providers.custody.rotation import rotate_organization_key
from providers.keys.saving import delete_provider_key, disable_provider_key
from routing.call_access import Access
from routing.models import CallableAgent, DirectKey
from routing.token_edits import edit_token
from tests import serving_role
from tests.gateway.callers import PATIENCE_SECONDS, Calling, calling, usable_key

pytestmark = pytest.mark.django_db(transaction=True)


class OtherProcess:
    def __init__(self) -> None:
        postgresql = connection.vendor == "postgresql"
        url = serving_role.database_url() if postgresql else f"sqlite:///{connection.settings_dict['NAME']}"
        environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.watching_process"],
            cwd=settings.BASE_DIR,
            env={**environment, "PYTHONPATH": str(settings.BASE_DIR)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: Queue[Any] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def watch(self, token: str) -> str:
        """What calls with `token` get there now."""
        assert self._process.stdin is not None
        print(token, file=self._process.stdin, flush=True)
        while True:
            of, sees = self._lines.get(timeout=PATIENCE_SECONDS)
            if of == token:
                return str(sees)

    def sees_next(self) -> str:
        """Once it changes."""
        return str(self._lines.get(timeout=PATIENCE_SECONDS)[1])

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))


@pytest.fixture(scope="module")
def other_process(django_db_setup: None, django_db_blocker: Any) -> Iterator[OtherProcess]:
    process = OtherProcess()
    yield process
    process.end()


WORKS = "gpt-4.1-mini byok …0001 of data key 1"
DIRECT = "openai/:  byok …0001 of data key 1"


def of(each: Any) -> Any:
    return type(each).objects.filter(organization=each.organization, pk=each.pk)


def revoke(case: Calling) -> None:
    revoke_token(token=case.token, actor=case.person, now=clock.now())


def replace_secret(case: Calling) -> None:
    with transaction.atomic():
        sealing.seal(case.key, Secret("sk-proj-canary-of-the-snapshots-0002"))
        case.key.secret_version += 1
        case.key.save()


def remove_key(case: Calling) -> None:
    of(case.rule).delete()
    delete_provider_key(key=case.key, actor=None)


def route_elsewhere(case: Calling) -> None:
    other = usable_key(case.organization, "Other", "sk-proj-canary-of-the-snapshots-0003")
    of(case.rule).update(key=other, model="gpt-5", version=2)


def edit(case: Calling, access: Access, expires_at: datetime | None = None) -> None:
    edit_token(
        token=case.token,
        name="Narrowed",
        expires_at=expires_at,
        access=access,
        actor=case.person,
        now=clock.now() - timedelta(days=1),
    )


TAKEN_AWAY: dict[str, tuple[Callable[[Calling], object], str]] = {
    "revoked": (revoke, "401 revoked_token"),
    "expired": (
        lambda case: of(case.token).update(expires_at=clock.now() - timedelta(seconds=1)),
        "401 expired_token",
    ),
    "edited to call less": (
        lambda case: edit(case, Access(member=case.person, agents=[case.agent])),
        f"support: {WORKS}",
    ),
    "edited to end": (
        lambda case: edit(
            case,
            Access(member=case.person, agents=[case.agent], direct_keys=[case.key]),
            clock.now() - timedelta(minutes=2),
        ),
        "401 expired_token",
    ),
    "deleted": (lambda case: of(case.token).delete(), "401 unknown_token"),
    "creator removed": (
        lambda case: Membership.objects.filter(organization=case.organization).delete(),
        "401 token_without_creator",
    ),
    "creator inactive": (
        lambda case: User.objects.filter(pk=case.person.pk).update(is_active=False),
        "401 token_without_creator",
    ),
    "organization closed": (
        lambda case: Organization.objects.filter(pk=case.organization.pk).update(closed_at=clock.now()),
        "403 organization_closed",
    ),
    "scope taken away": (lambda case: of(case.token).update(scopes=["view"]), "403 scope_missing"),
    "access taken away": (lambda case: of(case.access).delete(), "403 nothing_to_call"),
    "agent taken away": (
        lambda case: CallableAgent.objects.filter(organization=case.organization).delete(),
        DIRECT,
    ),
    "direct key taken away": (
        lambda case: DirectKey.objects.filter(organization=case.organization).delete(),
        f"support: {WORKS}",
    ),
    "agent archived": (lambda case: of(case.agent).update(archived_at=clock.now()), DIRECT),
    "agent paused": (lambda case: of(case.rule).update(paused_at=clock.now()), f"support: paused; {DIRECT}"),
    "route removed": (lambda case: of(case.rule).delete(), f"support: unrouted; {DIRECT}"),
    "route changed": (
        route_elsewhere,
        f"support: gpt-5 byok …0003 of data key 1; {DIRECT}",
    ),
    "key disabled": (
        lambda case: disable_provider_key(key=case.key, actor=None, now=clock.now()),
        "support: key_unusable; openai/: key_unusable",
    ),
    "key removed": (remove_key, "support: unrouted"),
    "key replaced": (
        replace_secret,
        "support: gpt-4.1-mini byok …0002 of data key 1; openai/:  byok …0002 of data key 1",
    ),
    "data key rotated": (
        lambda case: rotate_organization_key(organization=case.organization, actor=None),
        "support: gpt-4.1-mini byok …0001 of data key 2; openai/:  byok …0001 of data key 2",
    ),
}


@pytest.mark.parametrize("name", list(TAKEN_AWAY))
def test_what_is_taken_away_is_gone_in_another_process(other_process, name):
    take_away, expected = TAKEN_AWAY[name]
    case = calling()
    assert other_process.watch(case.value) == f"support: {WORKS}; {DIRECT}"

    take_away(case)

    seen = other_process.sees_next()
    while seen != expected:  # what takes several transactions shows each
        seen = other_process.sees_next()
