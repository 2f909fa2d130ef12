# ruff: noqa: S608  # no value in this SQL is anybody's
"""
Fills a database of the first version that landed: run as a program, on an empty database, with the number of usage
events to write and the seed of an authenticator app. What stands in it is written as that version left it, by SQL.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any
from uuid import UUID

import django

django.setup()

from django.apps.registry import Apps  # noqa: E402  # after setup
from django.contrib.auth.hashers import make_password  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402

from organizations.tenancy import EVERY, scope  # noqa: E402

FIRST = {
    "organizations": "0001_initial",
    "usage": "0002_append_only",
    "billing": "0002_append_only",
    "providers": "0001_initial",
    "routing": "0001_initial",
    "candidates": "0001_initial",
}
NOT_YET = {"config", "gateway"}
POSTGRESQL = connection.vendor == "postgresql"
NUMBERS = (
    "(SELECT n FROM generate_series(1, {count}) AS t(n))"
    if POSTGRESQL
    else "(WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {count}) SELECT n FROM t)"
)
AS_UUID = "lpad(to_hex({0}), 32, '0')::uuid" if POSTGRESQL else "printf('%032x', {0})"
TIME = (
    "date_trunc('second', now()) - n * interval '5 seconds'"
    if POSTGRESQL
    else "datetime('now', '-' || (n * 5) || ' seconds')"
)
DAY = "(occurred_at AT TIME ZONE 'UTC')::date" if POSTGRESQL else "substr(occurred_at, 1, 10)"
POSITION = "pg_current_xact_id()::text::bigint" if POSTGRESQL else "0"


def is_priced(number: str) -> str:
    return f"({number} % 10 <> 0 AND {number} % 101 <> 0)"


# Every third call goes on with the run of the one before; one of ten failed, of a hundred is lost or unpriced.
EVENTS = f"""
INSERT INTO usage_usageevent (
  organization_id, call_id, occurred_at, provider, model, served_model, action, key_id, key_label, mode, run_id,
  iteration, status, error_kind, request_id, uncached_input_tokens, cache_read_tokens, cache_write_tokens,
  cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_nanousd, price_source, price_version, follows_priced,
  latency_ms, ingest_position
)
SELECT 2, {AS_UUID.format("n")}, {TIME}, 'openai', 'model-' || n % 7, '', 'candidate_check', {AS_UUID.format("1")},
  'Default', 'byok', {AS_UUID.format("n / 3")}, 1 + n % 3,
  CASE WHEN n % 100 = 0 THEN 'lost' WHEN n % 10 = 0 THEN 'failed' ELSE 'answered' END, '', '',
  CASE WHEN n % 10 = 0 THEN 0 ELSE 1000 + n % 500 END, 0, 0, 0, CASE WHEN n % 10 = 0 THEN 0 ELSE n % 90 END, 0,
  CASE WHEN {is_priced("n")} THEN 2500 * (n % 500) END,
  CASE WHEN {is_priced("n")} THEN 'catalog' ELSE 'none' END, '',
  {is_priced("n")} AND (n % 3 > 0 AND {is_priced("(n - 1)")} OR n % 3 = 2 AND {is_priced("(n - 2)")}), 800, {POSITION}
FROM {NUMBERS}
"""
DAILY = f"""
INSERT INTO usage_usagedaily (
  organization_id, day, provider, model, action, key_id, key_label, mode, calls, runs, priced_runs, answered, failed,
  lost, unpriced_calls, uncached_input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
  cost_nanousd, latency_ms
)
SELECT organization_id, {DAY}, provider, model, action, key_id, key_label, mode, count(*),
  sum(CASE WHEN iteration = 1 THEN 1 ELSE 0 END),
  sum(CASE WHEN cost_nanousd IS NOT NULL AND NOT follows_priced THEN 1 ELSE 0 END),
  sum(CASE WHEN status = 'answered' THEN 1 ELSE 0 END), sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END),
  sum(CASE WHEN status = 'lost' THEN 1 ELSE 0 END),
  sum(CASE WHEN status = 'answered' AND cost_nanousd IS NULL THEN 1 ELSE 0 END),
  sum(uncached_input_tokens), 0, 0, sum(output_tokens), 0, coalesce(sum(cost_nanousd), 0), sum(latency_ms)
FROM usage_usageevent GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""
AUDIT = f"""
INSERT INTO organizations_auditevent (organization_id, actor_id, actor_label, action, target, details, created_at)
SELECT 2, NULL, 'Keyfare', 'credits.granted', 'Grant ' || n, '{{{{}}}}', {TIME} FROM {NUMBERS}
"""
LOTS = f"""
INSERT INTO billing_creditlot (id, organization_id, amount, remaining, held, reason, created_seq)
SELECT n, 2, 10, 10, 0, 'Grant', n FROM {NUMBERS}
"""
ENTRIES = f"""
INSERT INTO billing_ledgerentry (
  organization_id, seq, kind, d_posted, d_held, posted_after, held_after, lot_id, reason, idempotency_key, digest
)
SELECT 2, n, 'grant', 10, 0, 10 * n, 0, n, 'Grant', 'grant:' || n, '' FROM {NUMBERS}
"""
OTHERS = 2000


def hold_credits(apps: Apps, organization: Any) -> None:
    """One hold, which names a person, as holds did; and the account that all entries lead to."""
    model = partial(apps.get_model, "billing")
    hold = model("CreditHold").objects.create(
        id=UUID(int=7), organization=organization, amount=4, purpose="Check of Mira"
    )
    lot = model("CreditLot").objects.get(created_seq=1)
    model("CreditLot").objects.filter(pk=lot.pk).update(held=4)
    model("HoldAllocation").objects.create(organization=organization, hold=hold, lot=lot, amount=4, position=0)
    model("LedgerEntry").objects.create(
        organization=organization,
        seq=OTHERS + 1,
        kind="hold",
        d_posted=0,
        d_held=4,
        posted_after=10 * OTHERS,
        held_after=4,
        hold=hold,
        idempotency_key="hold:7",
        digest="",
    )
    model("CreditAccount").objects.create(organization=organization, posted=10 * OTHERS, held=4, seq=OTHERS + 1)


@scope(EVERY, "writes a whole installation")
def main(events: int, seed: str) -> None:
    executor = MigrationExecutor(connection)
    leaves = [node for node in executor.loader.graph.leaf_nodes() if node[0] not in {*FIRST, *NOT_YET}]
    targets = [*leaves, *FIRST.items()]
    executor.migrate(targets)
    apps = MigrationExecutor(connection).loader.project_state(targets).apps
    organization, user = (apps.get_model("organizations", name) for name in ("Organization", "User"))
    with transaction.atomic(), connection.cursor() as cursor:
        organization.objects.create(name="Platform", slug="platform", is_platform=True)
        acme = organization.objects.create(name="Acme", slug="acme")
        owner = user.objects.create(
            email="owner@acme.example",
            password=make_password("correct horse battery"),
            is_staff=True,
            is_superuser=True,
        )
        apps.get_model("account", "EmailAddress").objects.create(
            user_id=owner.pk, email=owner.email, verified=True, primary=True
        )
        # Of a version soon after: authenticator apps, whose seeds stood in clear.
        apps.get_model("mfa", "Authenticator").objects.create(user_id=owner.pk, type="totp", data={"secret": seed})
        apps.get_model("organizations", "Membership").objects.create(organization=acme, user=owner, role="owner")
        assert acme.pk == 2
        cursor.execute(EVENTS.format(count=events))
        cursor.execute(DAILY)
        for statement in (AUDIT, LOTS, ENTRIES):
            cursor.execute(statement.format(count=OTHERS))
        hold_credits(apps, acme)
    with connection.cursor() as cursor:
        identifier, position = "''", "(SELECT max(id) + 1 FROM usage_usageevent)"
        if POSTGRESQL:
            identifier = "(SELECT system_identifier::text FROM pg_control_system())"
            position = "(SELECT max(ingest_position) + 1 FROM usage_usageevent)"
        cursor.execute(
            "INSERT INTO usage_rollupstate (id, position, rebuilt_to_id, system_identifier) "
            f"VALUES (1, {position}, 0, {identifier})"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
