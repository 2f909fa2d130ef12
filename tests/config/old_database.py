"""
Fills a database of the first version that landed: run as a program, on an empty database, with the number of usage
events to write. What stands in it is written as that version left it, by SQL.
"""

from __future__ import annotations

import sys

import django

django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402  # after setup
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
NOT_YET = {"config", "mfa"}
POSTGRESQL = connection.vendor == "postgresql"
NUMBERS = (
    "(SELECT n FROM generate_series(1, {count}) AS t(n))"
    if POSTGRESQL
    else "(WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {count}) SELECT n FROM t)"
)
UUID = "lpad(to_hex({0}), 32, '0')::uuid" if POSTGRESQL else "printf('%032x', {0})"
TIME = (
    "timestamptz '2026-11-21 12:00:00+00' - n * interval '5 seconds'"
    if POSTGRESQL
    else "datetime('2026-11-21 12:00:00', '-' || (n * 5) || ' seconds')"
)
DAY = "(occurred_at AT TIME ZONE 'UTC')::date" if POSTGRESQL else "substr(occurred_at, 1, 10)"
POSITION = "pg_current_xact_id()::text::bigint" if POSTGRESQL else "0"
YES, NO = ("true", "false") if POSTGRESQL else ("1", "0")

# Every third call goes on with the run of the one before; one of ten failed, of a hundred is lost or unpriced.
EVENTS = f"""
INSERT INTO usage_usageevent (
  organization_id, call_id, occurred_at, provider, model, served_model, action, key_id, key_label, mode, run_id,
  iteration, status, error_kind, request_id, uncached_input_tokens, cache_read_tokens, cache_write_tokens,
  cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_nanousd, price_source, price_version, follows_priced,
  latency_ms, ingest_position
)
SELECT 2, {UUID.format("n")}, {TIME}, 'openai', 'model-' || n % 7, '', 'candidate_check', {UUID.format("1")}, 'Default',
  'byok', {UUID.format("n / 3")}, 1 + n % 3,
  CASE WHEN n % 100 = 0 THEN 'lost' WHEN n % 10 = 0 THEN 'failed' ELSE 'answered' END, '', '',
  CASE WHEN n % 10 = 0 THEN 0 ELSE 1000 + n % 500 END, 0, 0, 0, CASE WHEN n % 10 = 0 THEN 0 ELSE n % 90 END, 0,
  CASE WHEN n % 10 = 0 OR n % 101 = 0 THEN NULL ELSE 2500 * (n % 500) END,
  CASE WHEN n % 10 = 0 OR n % 101 = 0 THEN 'none' ELSE 'catalog' END, '', {NO}, 800, {POSITION}
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
# Of the hold that names a person, as holds did.
HOLD = f"INSERT INTO billing_credithold (id, organization_id, amount, captured, state, purpose) VALUES ({UUID.format('7')}, 2, 4, 0, 'pending', 'Check of Mira Holt')"  # noqa: S608, E501
HELD = (
    f"INSERT INTO billing_holdallocation (organization_id, hold_id, lot_id, amount, captured, position) VALUES (2, {UUID.format('7')}, 1, 4, 0, 0)",  # noqa: S608, E501
    "UPDATE billing_creditlot SET held = 4 WHERE id = 1",
    f"INSERT INTO billing_ledgerentry (organization_id, seq, kind, d_posted, d_held, posted_after, held_after, hold_id, reason, idempotency_key, digest) SELECT 2, max(seq) + 1, 'hold', 0, 4, max(posted_after), 4, {UUID.format('7')}, '', 'hold:7', '' FROM billing_ledgerentry",  # noqa: S608, E501
    "INSERT INTO billing_creditaccount (organization_id, posted, held, seq) SELECT 2, max(posted_after), 4, max(seq) FROM billing_ledgerentry",  # noqa: E501
)
OTHERS = 2000


@scope(EVERY, "writes a whole installation")
def main(events: int) -> None:
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
        apps.get_model("organizations", "Membership").objects.create(organization=acme, user=owner, role="owner")
        assert acme.pk == 2
        cursor.execute(EVENTS.format(count=events))
        cursor.execute(DAILY)
        for statement in (AUDIT, LOTS, ENTRIES):
            cursor.execute(statement.format(count=OTHERS))
        for statement in (HOLD, *HELD):
            cursor.execute(statement)
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
    main(int(sys.argv[1]))
