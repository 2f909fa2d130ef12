"""
The drill: a backup while checks are being worked on, restored elsewhere, proven there, and the work finished there.

With real processes on databases of their own; on PostgreSQL as the two roles of docs/operations.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import pytest
from django.conf import settings

from tests.scratch_database import OWNER, ScratchDatabase, needs_pg_dump, new_installation, scratch_database

__all__ = ["needs_pg_dump", "new_installation", "scratch_database"]

pytestmark = pytest.mark.usefixtures("needs_pg_dump")
PEOPLE = 40
ARRANGE = f"""
import django
django.setup()
from django.utils import timezone
from candidates import acceptance
from organizations.models import Organization
from organizations.tenancy import EVERY, scope
from tests.builders import give_credits, import_people, route_to_own_key, write_briefing
acceptance.queue_checks = lambda: None  # the worker of this test does the work
with scope(EVERY, "arranges"):
    acme = Organization.objects.get(slug="acme")
    route_to_own_key(acme)
    give_credits(acme, {PEOPLE})
    people = import_people(acme, *["Builds Django services."] * {PEOPLE})
    acceptance.accept_checks(organization=acme, briefing=write_briefing(acme, ("Django", "must")), candidates=people,
                         actor=None, now=timezone.now())
"""
WORKER = """
import django
django.setup()
from candidates.tasks import run_checks
run_checks()
"""
COMPLETED = "SELECT count(*) FROM candidates_candidatecheck WHERE status = 'completed'"
CAPTURED = "SELECT count(*), count(DISTINCT hold_id), -sum(d_posted) FROM billing_ledgerentry WHERE kind = 'capture'"
PATIENCE = 120


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.05)


@contextmanager
def worker(scratch: ScratchDatabase, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works on the checks, and is killed at the end as a machine that is gone."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=settings.BASE_DIR, env=scratch.environment(**environment)
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def writing(scratch: ScratchDatabase) -> Iterator[None]:
    """Within it, rows are committed all the time."""
    done = threading.Event()

    def write() -> None:
        for number in count():
            if done.wait(0.01):
                return
            row = f"('{number}', '2026-11-21 12:00:00+00:00')"
            scratch.query(f"INSERT INTO candidates_profilesighting (person_digest, last_checked_at) VALUES {row}")  # noqa: S608

    with ThreadPoolExecutor(1) as threads:
        written = threads.submit(write)
        try:
            yield
        finally:
            done.set()
        written.result()


@pytest.fixture
def providers(simulated_providers) -> dict[str, str]:
    origins = ",".join(f"{name}={url}" for name, url in settings.KEYFARE_PROVIDER_ORIGINS.items())
    return {"KEYFARE_PROVIDER_ORIGINS": origins, "KEYFARE_CHECKS_IN_FLIGHT": "4", "KEYFARE_CHECK_LEASE_SECONDS": "5"}


def test_a_backup_in_the_middle_of_a_batch_is_restored_elsewhere_and_finishes_there(
    scratch_database, new_installation, simulated_providers, providers, tmp_path
):
    here, there = scratch_database("here", like=new_installation), scratch_database("there")
    arranged = here.run("-c", ARRANGE, **providers)
    assert arranged.returncode == 0, arranged.stderr
    here.query("INSERT INTO django_session (session_key, session_data, expire_date) VALUES ('s', '', '2100-01-01')")

    simulated_providers.app.delay_seconds = 0.5
    with worker(here, **providers) as working:
        wait_for(lambda: here.query(COMPLETED)[0][0] >= 5 or working.poll() is not None, "no check was completed")
        completed_before = here.query(COMPLETED)[0][0]
        simulated_providers.app.delay_seconds = 60  # the batch does not end before the backup does
        with writing(here):
            here.manage("backup", str(tmp_path / "backups"), role=OWNER)
        assert working.poll() is None, "the backup has to fall into the batch"
    (backup,) = (tmp_path / "backups").iterdir()
    told = json.loads((backup / "manifest.json").read_text())["contents"]

    there.manage("restore", str(backup), role=OWNER)

    # What was committed before the backup is in it, the write-ahead log's part too; people log in anew.
    completed = there.query(COMPLETED)[0][0]
    in_flight = there.query("SELECT count(*) FROM usage_inflightcall")[0][0]
    assert 5 <= completed_before <= completed < PEOPLE
    assert told["counts"]["usage_inflightcall"] == in_flight > 0
    assert told["ledger_heads"] == [
        list(row) for row in there.query("SELECT organization_id, seq, posted, held FROM billing_creditaccount")
    ]
    assert there.query("SELECT count(*) FROM candidates_profilesighting")[0][0] > 0
    assert there.query("SELECT count(*) FROM django_session") == [(0,)]
    there.prove()

    simulated_providers.app.delay_seconds = 0

    # The leases run out, and somebody else goes on.
    def is_done() -> bool:
        with worker(there, **providers) as working:
            working.wait(PATIENCE)
        return bool(there.query(COMPLETED)[0][0] == PEOPLE)

    wait_for(is_done, "the work did not go on")
    there.query("UPDATE usage_inflightcall SET deadline_at = '2026-01-01 00:00:00+00:00'")
    there.manage("sweep_lost_calls")
    assert there.query(CAPTURED) == [(PEOPLE, PEOPLE, PEOPLE)]
    assert there.query("SELECT count(*) FROM usage_usageevent WHERE status = 'lost'") == [(in_flight,)]
    # A call is in the books before its check is: one that was read in between is made, and billed, again.
    answered = there.query("SELECT count(*) FROM usage_usageevent WHERE status = 'answered'")[0][0]
    assert PEOPLE <= answered <= PEOPLE + 4
    there.prove()
