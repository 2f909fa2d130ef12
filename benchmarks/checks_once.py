"""Checks through the worker, and the bare calls; writes its figures to the file that it is given."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402  # apps come after setup
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from billing.ledger import grant_credits  # noqa: E402
from candidates.acceptance import accept_checks  # noqa: E402
from candidates.briefings import create_briefing  # noqa: E402
from candidates.models import Briefing, Candidate, CandidateCheck, Profile  # noqa: E402
from candidates.profiles.reading import profile_text  # noqa: E402
from candidates.prompts.check import check_request  # noqa: E402
from candidates.prompts.draft import DraftRequirement  # noqa: E402
from candidates.worker import run_pending_checks  # noqa: E402
from config.onboarding import open_organization  # noqa: E402
from organizations import tenancy  # noqa: E402
from organizations.models import Organization, User  # noqa: E402
from organizations.tenancy import EVERY, scope  # noqa: E402
from providers.adapters.base import HttpCall  # noqa: E402
from providers.adapters.secret import Secret  # noqa: E402
from providers.catalog import PROVIDERS, effective_base_url  # noqa: E402
from providers.egress.addresses import ANYWHERE  # noqa: E402
from providers.egress.connections import open_client  # noqa: E402
from providers.keys.saving import save_provider_key  # noqa: E402
from providers.keys.validation import validate_key  # noqa: E402
from providers.models import ProviderKey  # noqa: E402
from routing.actions import ACTIONS  # noqa: E402
from routing.services import save_routing  # noqa: E402

ROOT = Path(__file__).parent.parent
SKILLS = ["Python", "Django", "PostgreSQL", "Kubernetes", "Terraform", "Kafka", "React", "Go", "Rust", "SQL"]
MODEL = "openai/gpt-4.1-mini"
SECRET = "sk-or-v1-simulated-valid-benchmark"
PEOPLE_AT_ONCE = 2000


class Bench:
    def __init__(self, people: int) -> None:
        owner = User.objects.create_user("benchmark@keyfare.example")
        self.organization: Organization = open_organization(name="Benchmark", slug="benchmark", owner=owner)
        self.briefing: Briefing = create_briefing(
            organization=self.organization,
            title="Benchmark",
            job_description="",
            requirements=[
                DraftRequirement(text=f"Experience with {skill}", kind="nice", weight=1) for skill in SKILLS[:6]
            ],
            actor=owner,
            now=timezone.now(),
        )
        self.people = _import(self.organization, people)

    def connect(self, port: int) -> None:
        settings.KEYFARE_PROVIDER_ORIGINS = {"openrouter": f"http://127.0.0.1:{port}/openrouter/api/v1"}
        now, organization = timezone.now(), self.organization
        key = save_provider_key(
            organization=organization,
            provider="openrouter",
            secret=Secret(SECRET),
            actor=None,
            now=now,
            label=f"port {port}",
        )
        validation = key.validations.create(organization=organization, secret_version=1, requested_at=now)
        validate_key(validation_id=validation.pk, now=now)
        key = ProviderKey.objects.get(pk=key.pk)
        for action in ACTIONS:
            save_routing(organization=organization, action=action, key=key, model=MODEL, actor=None)

    def check(self, people: Sequence[Candidate]) -> float:
        """Seconds that their checks took; each is charged as that of a person nobody has checked lately."""
        now = timezone.now()
        CandidateCheck.objects.exclude(completed_at=None).update(completed_at=now - timedelta(days=400))
        grant_credits(
            organization=self.organization, amount=len(people), reason="Benchmark", idempotency_key=f"benchmark {now}"
        )
        accept_checks(organization=self.organization, briefing=self.briefing, candidates=people, actor=None, now=now)
        began_at = time.perf_counter()
        worked = run_pending_checks(organization_id=self.organization.pk)
        took = time.perf_counter() - began_at
        assert worked.completed == len(people), worked
        return took

    def send(self, people: Sequence[Candidate]) -> float:
        """The same requests, nothing else: no database, no parsing, no ledger."""
        adapter = PROVIDERS["openrouter"].adapter
        requirements = list(self.briefing.requirements.order_by("position"))
        headers = adapter.credential_headers(Secret(SECRET))
        calls = [
            adapter.chat_call(
                effective_base_url("openrouter"),
                check_request(model=MODEL, requirements=requirements, profile_text=profile_text(profile.content)),
            )
            for profile in Profile.objects.filter(candidate__in=people)
        ]

        async def loop() -> None:
            gate = asyncio.Semaphore(settings.KEYFARE_CHECKS_IN_FLIGHT)
            async with open_client() as egress:
                session = egress.session(ANYWHERE)

                async def one(call: HttpCall) -> None:
                    sent = {**call.headers, **headers}
                    async with gate, session.request(call.method, call.url, headers=sent, data=call.body) as answer:
                        await answer.read()
                        assert answer.status == 200, answer.status

                await asyncio.gather(*map(one, calls))

        began_at = time.perf_counter()
        asyncio.run(loop())
        return time.perf_counter() - began_at


def _import(organization: Organization, count: int) -> list[Candidate]:
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
    return people


@contextmanager
def simulator(delay_seconds: float) -> Iterator[int]:
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


class _Counted(logging.Handler):
    """Statements, as Django logs them, and the changes of scope, which it does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


@contextmanager
def counted() -> Iterator[_Counted]:
    handler, logger, set_scope = _Counted(), logging.getLogger("django.db.backends"), tenancy._set
    level, propagates = logger.level, logger.propagate

    def noted(*given: Any) -> None:
        handler.count += connection.vendor == "postgresql"
        set_scope(*given)

    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate, connection.force_debug_cursor = False, True
    try:
        with mock.patch.object(tenancy, "_set", noted):
            yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate, connection.force_debug_cursor = propagates, False
        connection.queries_log.clear()


def memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@scope(EVERY, "the benchmark")
def main(checks: int, rounds: int, many: int, output: Path) -> None:
    settings.Q_CLUSTER["sync"] = False  # tasks are queued and left there: this process does the work
    bench, figures = Bench(max(checks, 200, min(many, PEOPLE_AT_ONCE))), dict[str, float]()
    people = bench.people[:checks]
    with simulator(0) as port:
        bench.connect(port)
        bench.check(people[:64])
        ours, floor = [], []
        for _ in range(rounds):
            ours.append(bench.check(people))
            floor.append(bench.send(people))
        figures["checks_per_s"] = round(checks / statistics.median(ours))
        figures["floor_per_s"] = round(checks / statistics.median(floor))
        figures["ratio"] = round(statistics.median(floor) / statistics.median(ours), 3)
        figures["statements_per_check"] = round(_statements(bench, people) / checks, 2)
        if many:
            figures["memory_growth_mb"] = round(_memory_growth(bench, many), 1)
    with simulator(2) as port:
        bench.connect(port)
        took = bench.check(bench.people[:200])
    least = math.ceil(200 / settings.KEYFARE_CHECKS_IN_FLIGHT) * 2
    figures["two_second_ratio"] = round(took / least, 2)
    output.write_text(json.dumps(figures))


def _statements(bench: Bench, people: Sequence[Candidate]) -> int:
    """Of the worker alone: what accepting takes is taken off."""
    with counted() as asked, mock.patch(f"{__name__}.run_pending_checks") as work:
        work.return_value.completed = len(people)
        bench.check(people)
    accepting = asked.count
    run_pending_checks(organization_id=bench.organization.pk)
    with counted() as asked:
        bench.check(people)
    return asked.count - accepting


def _memory_growth(bench: Bench, many: int) -> float:
    after_the_first = 0.0
    for _ in range(math.ceil(many / PEOPLE_AT_ONCE)):
        bench.check(bench.people[:PEOPLE_AT_ONCE])
        after_the_first = after_the_first or memory_mb()
    return memory_mb() - after_the_first


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
