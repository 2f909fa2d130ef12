"""
How fast checks run end to end, beside the least that the same calls can cost.

    .venv/bin/python -m benchmarks.checks [--checks 300] [--rounds 3]

Starts the provider simulator in a process of its own, makes an organization in a scratch database (SQLite in a
temporary directory, or the server that DATABASE_URL names, in a database of its own) and prints:

1. with an instant simulator, checks per second through `run_pending_checks` (claim, ask, parse, score, usage event,
   ledger, all written) beside a bare asyncio + aiohttp loop over the same connections that sends the same requests with
   as many in flight; alternating, median of the rounds, as a ratio;
2. with a simulator that takes 2 seconds an answer, 200 checks in one worker beside ceil(200 / 64) × 2 s, the time
   that the 64 in flight alone allow.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from organizations.tenancy import EVERY, scope

ROOT = Path(__file__).parent.parent
SKILLS = ["Python", "Django", "PostgreSQL", "Kubernetes", "Terraform", "Kafka", "React", "Go", "Rust", "SQL"]


@contextmanager
def simulator(delay_seconds: float):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "manage.py",
        "simulate_providers",
        "--port",
        str(port),
        "--delay",
        str(delay_seconds),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def set_up(count: int):
    from django.utils import timezone

    from candidates.briefings import create_briefing
    from candidates.models import Candidate, Profile
    from candidates.prompts.draft import DraftRequirement
    from config.onboarding import open_organization
    from organizations.models import User

    owner = User.objects.create_user("benchmark@keyfare.example")
    organization = open_organization(name="Benchmark", slug="benchmark", owner=owner)
    briefing = create_briefing(
        organization=organization,
        title="Benchmark",
        job_description="",
        requirements=[DraftRequirement(text=f"Experience with {skill}", kind="nice", weight=1) for skill in SKILLS[:6]],
        actor=owner,
        now=timezone.now(),
    )
    people = Candidate.objects.bulk_create(
        Candidate(organization=organization, name=f"Person {n}", email=f"person{n}@people.example")
        for n in range(count)
    )
    Profile.objects.bulk_create(
        Profile(
            organization=organization,
            candidate=person,
            content={
                "basics": {"name": person.name, "summary": "Builds and runs services. " * 12},
                "skills": [{"name": SKILLS[(n + k) % len(SKILLS)]} for k in range(4)],
            },
            digest=f"{n:064}",
        )
        for n, person in enumerate(people)
    )
    return organization, briefing, people


def connect(organization, port: int):
    from django.conf import settings
    from django.utils import timezone

    from providers.adapters.secret import Secret
    from providers.keys.saving import save_provider_key
    from providers.keys.validation import validate_key
    from providers.models import ProviderKey
    from routing.actions import ACTIONS
    from routing.services import save_routing

    settings.KEYFARE_PROVIDER_ORIGINS = {"openrouter": f"http://127.0.0.1:{port}/openrouter/api/v1"}
    now = timezone.now()
    key = save_provider_key(
        organization=organization,
        provider="openrouter",
        secret=Secret("sk-or-v1-simulated-valid-benchmark"),
        actor=None,
        now=now,
        label=f"port {port}",
    )
    validation = key.validations.create(organization=organization, secret_version=1, requested_at=now)
    validate_key(validation_id=validation.pk, now=now)
    key = ProviderKey.objects.get(pk=key.pk)
    for action in ACTIONS:
        save_routing(organization=organization, action=action, key=key, model="openai/gpt-4.1-mini", actor=None)


def run_checks(organization, briefing, people) -> float:
    from django.utils import timezone

    from billing.ledger import grant_credits
    from candidates.acceptance import accept_checks
    from candidates.worker import run_pending_checks

    now = timezone.now()
    grant_credits(organization=organization, amount=len(people), reason="Benchmark", idempotency_key=f"benchmark {now}")
    accept_checks(organization=organization, briefing=briefing, candidates=people, actor=None, now=now)
    started = time.perf_counter()
    worked = run_pending_checks(organization_id=organization.pk)
    assert worked.completed == len(people), worked
    return time.perf_counter() - started


def run_floor(organization, briefing, people) -> float:
    """The same requests, nothing else: no database, no parsing, no ledger."""
    from django.conf import settings

    from candidates.models import Profile
    from candidates.prompts.check import check_request
    from providers.adapters.secret import Secret
    from providers.catalog import PROVIDERS, effective_base_url
    from providers.egress.addresses import ANYWHERE
    from providers.egress.connections import open_client

    adapter = PROVIDERS["openrouter"].adapter
    requirements = list(briefing.requirements.order_by("position"))
    headers = adapter.credential_headers(Secret("sk-or-v1-simulated-valid-benchmark"))
    calls = [
        adapter.chat_call(
            effective_base_url("openrouter"),
            check_request(model="openai/gpt-4.1-mini", requirements=requirements, profile=profile),
        )
        for profile in Profile.objects.filter(candidate__in=people)
    ]

    async def loop() -> None:
        gate = asyncio.Semaphore(settings.KEYFARE_CHECKS_IN_FLIGHT)
        async with open_client() as egress:
            session = egress.session(ANYWHERE)

            async def one(call) -> None:
                sent = {**call.headers, **headers}
                async with gate, session.request(call.method, call.url, headers=sent, data=call.body) as answer:
                    await answer.read()
                    assert answer.status == 200, answer.status

            await asyncio.gather(*map(one, calls))

    started = time.perf_counter()
    asyncio.run(loop())
    return time.perf_counter() - started


@scope(EVERY, "the benchmark")
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checks", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    directory = tempfile.TemporaryDirectory()
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings",
        KEYFARE_ENV_FILE=str(Path(directory.name) / "none.env"),
        SECRET_KEY="benchmark-only",
        KEYFARE_MASTER_KEYS="benchmark-only-0123456789-0123456789-abcd",
        KEYFARE_DIGEST_KEY="benchmark-only",
        EMAIL_URL="memorymail://",
    )
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection
    from django.test.utils import get_runner  # noqa: F401  # fails early where Django's test support is missing

    settings.Q_CLUSTER["sync"] = False  # tasks are queued and left there: this process does the work
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        organization, briefing, people = set_up(max(options.checks, 200))
        ours, floor = [], []
        with simulator(0) as port:
            connect(organization, port)
            for _ in range(options.rounds):
                ours.append(run_checks(organization, briefing, people[: options.checks]))
                floor.append(run_floor(organization, briefing, people[: options.checks]))
        ours_rate = options.checks / statistics.median(ours)
        floor_rate = options.checks / statistics.median(floor)
        print(f"Database: {connection.vendor}. {options.checks} checks, {options.rounds} rounds, medians.")
        print(f"Instant simulator: {ours_rate:,.0f} checks/s end to end, {floor_rate:,.0f} bare calls/s", end="")
        print(f" → ratio {ours_rate / floor_rate:.2f}")
        with simulator(2) as port:
            connect(organization, port)
            took = run_checks(organization, briefing, people[:200])
        least = math.ceil(200 / settings.KEYFARE_CHECKS_IN_FLIGHT) * 2
        print(f"2-second simulator: 200 checks in {took:.1f} s; {settings.KEYFARE_CHECKS_IN_FLIGHT} in flight allow")
        print(f"{least} s at best → ratio {took / least:.2f}")
    finally:
        connection.creation.destroy_test_db(
            ":memory:" if connection.vendor == "sqlite" else connection.settings_dict["NAME"], verbosity=0
        )
        directory.cleanup()


if __name__ == "__main__":
    main()
