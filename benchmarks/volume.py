"""
Fills a database with what an organization gathers in years, for `benchmarks.pages`; of use by itself, too:

    python -m benchmarks.volume begin|fill small|big

`begin` makes the organizations, their keys and models; `fill`, once people were imported (`benchmarks.people`), adds
checks, ledger, audit log and model calls of 90 days. On PostgreSQL as the owner of the tables, by COPY.
Big is 5,020,000 calls (1,020,000 of them of one organization, `big-org`, the rest of 200 others), 100,000 people,
20,000 checks, 200,000 ledger entries and 100,000 audit events. The calls are spread evenly over 240 combinations of
model, action and key, which is the worst case for figures by day.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.people import SKILLS

SLUG = "big-org"
OWNER, STAFF = "owner@big.example", "staff@keyfare.example"
DAYS = 90
MODELS, KEYS = 20, 4
LISTED_MODELS = 350
RARE_MODEL, RARE_CALLS = "model-of-long-ago", 5
PROVIDERS = ("openrouter", "openai", "anthropic", "google")
ACTIONS = ("candidate_check", "requirement_generation", "summary")
AGENT, TOKENS = "summary", 3  # whose calls come by API tokens
LABELS = [{"team": f"team-{number}"} for number in range(8)]
CREDITS = 10_000_000
BUSIEST, FRESH = "Site manager", "Nobody checked yet"
BRIEFINGS = {"Data engineer": 4, "Nurse": 4, BUSIEST: 2}  # title: one check of so many is theirs


@dataclass(frozen=True, slots=True)
class Scale:
    own_calls: int
    others: int
    calls_of_others: int
    people: int
    checks: int
    holds: int
    audit_events: int


SCALES = {
    "small": Scale(10_300, 120, 2_000, 1_000, 300, 1_000, 1_000),
    "big": Scale(1_020_000, 200, 4_000_000, 100_000, 20_000, 100_000, 100_000),
}


def begin(scale: Scale) -> None:
    """Organizations with all they begin with; the big one has two keys, of which one lists 350 models."""
    from config.onboarding import ensure_platform, open_organization
    from organizations.models import User
    from providers.adapters.secret import Secret
    from providers.keys.saving import save_provider_key
    from providers.models import AvailableModel, ProviderKey
    from routing.actions import ACTIONS as ROUTED
    from routing.services import save_routing

    now = datetime.now(UTC)
    ensure_platform()
    User.objects.create_superuser(STAFF)
    owner = User.objects.create_user(OWNER, name="Olga Owner")
    big = open_organization(name="Big Organization", slug=SLUG, owner=owner)
    stranger = User.objects.create_user("owner@others.example")
    for number in range(scale.others):
        open_organization(name=f"Other {number}", slug=f"other-{number}", owner=stranger)
    for provider, secret in (("openrouter", "sk-or-v1-benchmark-1"), ("anthropic", "sk-ant-api03-benchmark-2")):
        key = save_provider_key(organization=big, provider=provider, secret=Secret(secret), actor=owner, now=now)
        ProviderKey.objects.filter(pk=key.pk).update(status="connected", validated_at=now)
        key.refresh_from_db()
        AvailableModel.objects.bulk_create(
            AvailableModel(
                organization=big,
                key=key,
                model=f"{provider}/model-{number}",
                input_nanousd_per_mtok=10**9,
                output_nanousd_per_mtok=4 * 10**9,
            )
            for number in range(LISTED_MODELS if provider == "openrouter" else 8)
        )
        for action in ROUTED:
            save_routing(organization=big, action=action, key=key, model=f"{provider}/model-1", actor=owner)


def fill(scale: Scale) -> None:
    from organizations.models import Organization

    organization = Organization.objects.get(slug=SLUG)
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    holds = _ledger(organization, scale, now)
    _checks(organization, scale, holds, now)
    _audit(organization, scale, now)
    fill_calls(organization, scale, now)


def _ledger(organization: Any, scale: Scale, now: datetime) -> list[str]:
    """A grant and many holds, each captured; the holds, the latest first."""
    from billing.ledger import grant_credits
    from billing.models import CreditAccount, CreditHold, CreditLot, HoldAllocation, LedgerEntry

    grant_credits(organization=organization, amount=CREDITS, reason="Top-up", idempotency_key="benchmark")
    account = CreditAccount.objects.for_organization(organization).get()
    lot = CreditLot.objects.for_organization(organization).latest("created_seq")
    price = 4
    holds = [_number(1, number) for number in range(scale.holds)]
    write(
        CreditHold,
        ("id", "created_at"),
        ((hold, _moment(now, scale.holds, number)) for number, hold in enumerate(holds)),
        organization=organization,
        amount=price,
        captured=price,
        state="captured",
        purpose="check",
    )
    write(
        HoldAllocation,
        ("hold_id",),
        ((hold,) for hold in holds),
        organization=organization,
        lot=lot,
        position=1,
        amount=price,
        captured=price,
    )

    def entries() -> Iterator[Sequence[Any]]:
        seq, posted = account.seq, account.posted
        for number, hold in enumerate(holds):
            at = _moment(now, scale.holds, number)
            yield seq + 1, "hold", 0, price, posted, price, hold, f"hold:{hold}", _sha("hold", price, "check"), at
            posted -= price
            yield seq + 2, "capture", -price, -price, posted, 0, hold, f"capture:{hold}", _sha("capture", price), at
            seq += 2

    columns = ("seq", "kind", "d_posted", "d_held", "posted_after", "held_after", "hold_id")
    write(LedgerEntry, (*columns, "idempotency_key", "digest", "created_at"), entries(), organization=organization)
    spent = price * scale.holds
    CreditAccount.objects.filter(pk=account.pk).update(seq=account.seq + 2 * scale.holds, posted=account.posted - spent)
    CreditLot.objects.filter(pk=lot.pk).update(remaining=lot.remaining - spent)
    return holds[::-1]


def _checks(organization: Any, scale: Scale, holds: Sequence[str], now: datetime) -> None:
    from candidates.briefings import create_briefing
    from candidates.models import CandidateCheck, Profile, RequirementVerdict
    from candidates.prompts.draft import DraftRequirement
    from routing.resolve import resolve

    profiles = list(Profile.objects.for_organization(organization).values_list("candidate_id", "pk").order_by("pk"))
    free = iter(holds)
    number = itertools.count()
    route = resolve(organization=organization, action="candidate_check").as_json()
    wanted = [DraftRequirement(text=f"Experience with {skill}", kind="nice", weight=1) for skill in SKILLS[:6]]
    for title in (*BRIEFINGS, FRESH):
        briefing = create_briefing(
            organization=organization, title=title, requirements=wanted, actor=None, now=now - timedelta(days=DAYS)
        )
        count = scale.checks // BRIEFINGS[title] if title in BRIEFINGS else 0
        checks = [_number(2, next(number)) for _ in range(count)]
        write(
            CandidateCheck,
            ("id", "candidate_id", "profile_id", "hold_id", "score", "category", "accepted_at", "completed_at"),
            (
                (check, *profiles[place % len(profiles)], next(free), score, category, at, at)
                for place, check in enumerate(checks)
                for score in [place * 7 % 101]
                for category in ["strong" if score > 80 else "possible" if score > 40 else "none"]
                for at in [_moment(now, count, place)]
            ),
            organization=organization,
            briefing=briefing,
            status="completed",
            mode="byok",
            kind="new",
            price=4,
            charged=4,
            route=route,
            attempts=1,
        )
        if title == BUSIEST:  # one is under way, so that its page asks for progress
            candidate, profile = profiles[count]
            CandidateCheck.objects.create(
                organization=organization,
                briefing=briefing,
                candidate_id=candidate,
                profile_id=profile,
                status="in_progress",
                mode="byok",
                kind="new",
                price=0,
                route=route,
                accepted_at=now,
                lease_until=now + timedelta(days=DAYS),
            )
        requirements = list(briefing.requirements.values_list("pk", flat=True))
        write(
            RequirementVerdict,
            ("check_row_id", "requirement_id", "verdict"),
            (
                (check, requirement, ("met", "partly", "not_met", "unknown")[(place + requirement) % 4])
                for place, check in enumerate(checks)
                for requirement in requirements
            ),
            organization=organization,
            quote="Built and ran services",
            reason="The profile says so.",
        )


def _audit(organization: Any, scale: Scale, now: datetime) -> None:
    from organizations.audit_chain import hash_of
    from organizations.models import AuditEvent, AuditHead

    head = AuditHead.objects.for_organization(organization).get()

    def events() -> Iterator[Sequence[Any]]:
        for number in range(scale.audit_events):
            event = AuditEvent(
                organization=organization,
                actor_label="system",
                action="profiles.imported" if number % 50 else "provider_key.saved",
                details={"imported": number},
                created_at=_moment(now, scale.audit_events, number),
                seq=head.seq + 1,
                prev_hash=head.hash,
            )
            head.seq, head.hash = event.seq, hash_of(event)
            yield event.seq, event.action, json.dumps(event.details), event.created_at, event.prev_hash, head.hash

    columns = ("seq", "action", "details", "created_at", "prev_hash", "hash")
    write(AuditEvent, columns, events(), organization=organization, actor_label="system")
    AuditHead.objects.filter(pk=head.pk).update(seq=head.seq, hash=head.hash)


def fill_calls(organization: Any, scale: Scale, now: datetime) -> None:
    from django.db import connection

    from organizations.models import Organization
    from usage.models import UsageEvent

    others = list(Organization.objects.filter(slug__startswith="other-").values_list("pk", flat=True))
    chance = random.Random(1)
    count = scale.own_calls + scale.calls_of_others
    combinations = [
        (PROVIDERS[model % len(PROVIDERS)], f"model-{model}", action, _number(3, key))
        for model in range(MODELS)
        for action in ACTIONS
        for key in range(KEYS)
    ]
    # The own calls lie evenly between those of the others.
    own_share = scale.own_calls / count

    def events() -> Iterator[Sequence[Any]]:
        own = 0
        for number in range(count):
            is_own = int((number + 1) * own_share) > own
            own += is_own
            tokens = int(chance.random() * 8000)
            failed = number % 97 == 0
            rare = is_own and own <= RARE_CALLS
            provider, model, action, key = combinations[int(chance.random() * len(combinations))]
            token = 1 + number % TOKENS if action == AGENT else None
            labels = LABELS[number % len(LABELS)] if token and number % 2 else {}
            yield (
                organization.pk if is_own else others[number % len(others)],
                f"{chance.getrandbits(128):032x}",
                _moment(now, count, number),
                provider,
                RARE_MODEL if rare else model,
                action,
                key,
                f"{chance.getrandbits(128):032x}",
                "failed" if failed else "answered",
                0 if failed else tokens,
                0 if failed else tokens // 10,
                None if failed else tokens * 2500,
                "none" if failed else "catalog",
                "not_billed" if failed else "",
                int(not failed),
                int(chance.random() * 4000),
                token,
                token,
                json.dumps(labels),
                0 if failed else tokens // 2,
                0 if failed else tokens - tokens // 2,
                None if failed else tokens * 2000,
            )

    columns = ("organization_id", "call_id", "occurred_at", "provider", "model", "action", "key_id", "run_id", "status")
    figures = ("uncached_input_tokens", "output_tokens", "cost_nanousd", "price_source", "no_price")
    asked, parts = ("token_id", "member_id", "labels"), ("system_tokens", "user_tokens")
    write(
        UsageEvent,
        (*columns, *figures, "counts_priced_run", "latency_ms", *asked, *parts, "input_cost_nanousd"),
        events(),
        key_label="Default",
        mode="byok",
        usage_reported=True,
        counts_run=True,
        price_version="benchmark",
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_usagerun (organization_id, action, run_id, part, started_at, first_call_id, is_priced,"
            " is_incomplete) SELECT organization_id, action, run_id, 0, occurred_at, call_id, counts_priced_run,"
            " NOT counts_run FROM usage_usageevent"
        )


def write(model: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]], **same: Any) -> None:
    """Rows of `columns`, in plain values; `same` has those that all rows share, the rest are the defaults."""
    from django.db import connection, transaction

    fields = {field.attname: field for field in model._meta.concrete_fields}
    template = model(**same)
    left = [
        field
        for name, field in fields.items()
        if name not in columns and not field.db_returning and not field.has_db_default()
    ]
    rest = tuple(_plain(getattr(template, field.attname)) for field in left)
    names = ", ".join(str(field.column) for field in (*(fields[name] for name in columns), *left))
    table = model._meta.db_table
    all_rows = ((*map(_plain, row), *rest) for row in rows)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in all_rows:
                    copy.write_row(row)
        else:
            cursor.execute("PRAGMA cache_size = -500000")  # KB: indexes of random ids would be read again and again
            holes = ", ".join(["%s"] * (len(columns) + len(left)))
            while batch := list(itertools.islice(all_rows, 10_000)):
                cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({holes})", batch)  # noqa: S608  # our names


def _plain(value: Any) -> Any:
    """As both databases take it: UUIDs in hexadecimal, times in UTC without a zone."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ")
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value


def _moment(now: datetime, count: int, number: int) -> datetime:
    """When the `number`-th of `count` happens, which are spread over the 90 days before `now`."""
    return now - timedelta(days=DAYS) * ((count - number) / count)


def _number(kind: int, number: int) -> str:
    """A UUID that looks like no other."""
    return hashlib.md5(f"{kind}:{number}".encode(), usedforsecurity=False).hexdigest()


def _sha(*arguments: Any) -> str:
    return hashlib.sha256(json.dumps(arguments).encode()).hexdigest()


def main() -> None:
    step, name = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from organizations.tenancy import EVERY, scope

    with scope(EVERY, "the benchmark"):
        {"begin": begin, "fill": fill}[step](SCALES[name])


if __name__ == "__main__":
    main()
