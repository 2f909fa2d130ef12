"""The main job on real input: public profiles against a briefing drafted from a public job description."""

from __future__ import annotations

import json

import pytest
from django.conf import settings
from django.utils import timezone

from billing.ledger import balance
from billing.verification import verify_ledger
from candidates.acceptance import accept_checks
from candidates.briefings import draft_briefing, request_draft, unchecked_candidates
from candidates.models import Briefing, CandidateCheck, RequirementVerdict
from candidates.profiles.files import parse_file
from candidates.profiles.importing import import_profiles
from candidates.requirements import RequirementInput, ordered_requirements, save_requirements
from candidates.worker import run_pending_checks
from tests.builders import give_credits, route_to_own_key
from usage.models import UsageEvent

DATA = settings.BASE_DIR.parent / "shared" / "data"
pytestmark = [
    pytest.mark.usefixtures("simulated_providers"),
    pytest.mark.skipif(not DATA.is_dir(), reason="the public data set is not beside the project"),
]
CHECKS = 200


def test_200_public_profiles_are_checked_against_a_briefing_drafted_from_a_public_job(acme):
    route_to_own_key(acme)
    give_credits(acme, CHECKS)
    rows = parse_file((DATA / "candidates" / "synthetic_structured_no_licence.jsonl").read_bytes())
    import_profiles(organization=acme, rows=rows[: CHECKS + 10], actor=None)
    jobs = map(json.loads, (DATA / "jobs" / "job_descriptions.jsonl").read_text().splitlines())
    job = next(job for job in jobs if "developer" in job["title"].lower() and len(job["description"]) > 1000)

    asked = request_draft(organization=acme, job_description=job["description"], actor=None, now=timezone.now())
    draft_briefing(asked.pk, now=timezone.now())
    briefing = Briefing.objects.get(pk=asked.pk)
    drafted = [RequirementInput(each.text, each.kind, each.weight, each.pk) for each in ordered_requirements(briefing)]
    save_requirements(briefing=briefing, requirements=drafted, now=timezone.now())
    people = list(unchecked_candidates(briefing).order_by("pk")[:CHECKS])
    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=timezone.now())
    run_pending_checks(organization_id=acme.pk)

    assert briefing.checks.filter(status=CandidateCheck.Status.COMPLETED).count() == CHECKS
    assert RequirementVerdict.objects.count() == CHECKS * briefing.requirements.count()
    assert balance(organization=acme).available == 0
    assert verify_ledger(organization=acme) == []
    assert UsageEvent.objects.filter(cost_nanousd=None).count() == 0
