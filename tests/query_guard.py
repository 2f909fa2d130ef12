"""
Fails every query on a table of organizations that does not say whose rows it wants.

On in all tests, for what our own code asks (not for what a test itself asks to arrange or to look). A query says it by
a value compared with an `organization` column, or by wanting what the platform owns. Rows in hand may be followed:
saving, refreshing and deleting one, and the objects it points to. Everything else is listed here, with a reason.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.backends.signals import connection_created

# Module or module:function → why its queries need not name an organization.
UNSCOPED = {
    # Sweeps over the whole installation: jobs that serve every organization.
    "candidates.briefings:requeue_drafts": "finds lost drafts of everybody",
    "candidates.trials:requeue_trials": "finds lost trials of everybody",
    "candidates.acceptance:organizations_with_waiting_checks": "finds lost checks of everybody",
    "candidates.worker:_organizations_that_wait": "one worker serves the checks of everybody",
    "providers.keys.validation:requeue_validations": "finds lost validations of everybody",
    "providers.keys.validation:forget_old_validations": "forgets old results of everybody",
    "providers.keys.validation:validate_due_keys": "asks about the keys of everybody",
    "providers.keys.usage_readings:readings": "what was read of the keys of everybody",
    "providers.keys.notices": "tells the owners of each key, one by one",
    "providers.custody.rotation:_batches": "master keys wrap the organization keys of everybody",
    "providers.custody.rotation:_store_token": "of the organization key just read",
    "providers.custody.inspection": "whether the secrets of everybody open",
    "organizations.audit_chain": "one organization's events, or those of everybody for the operator",
    "organizations.completeness": "what everybody has to have, for the operator",
    "billing.verification:missing_accounts": "what everybody has to have, for the operator",
    "config.backups.manifest": "counts the rows of everybody",
    "config.installation:refuse_new_secrets_for_old_database": "whether anything of anybody is there, for the operator",
    "organizations.migrations.0003_chain_audit_events": "chains the events of everybody",
    "candidates.migrations.0003_ledger_names_no_people": "takes names out of the holds of everybody",
    "candidates.migrations.0007_done_requests": "keeps what programs asked for elsewhere, of everybody",
    "candidates.migrations.0011_words_of_people": "notes by which words people are found, of everybody",
    "candidates.migrations.0014_words_with_signs": "the same",
    "candidates.migrations.0016_failures_as_text": "writes the reasons of everybody as text again, on the way back",
    "candidates.migrations.0019_briefing_reasons_as_text": "the same",
    "providers.migrations.0014_reasons_as_text": "writes the reasons of everybody as text again, on the way back",
    "routing.notices:note_cheaper_models": "finds who has routed anything, of everybody",
    "gateway.sweeping:sweep_lost_calls": "finds lost calls of everybody",
    "gateway.stored_ids:forget_old_ids": "forgets old ids of everybody",
    "config.metrics.counting": "counts the calls of everybody, by names of closed lists",
    "config.metrics.families": "figures of the whole installation, for the operator",
    "usage.self_check:_sample": "whose sums are compared with their calls",
    "usage.self_check:_biggest": "the same",
    "usage.exports.sealing:_boundary": "the last event of everybody, whose ids are of one sequence",
    "usage.pruning": "old calls of everybody leave, for the operator",
    "usage.parquet": "the same",
    "usage.rollups": "one rollup for everybody; its rows keep their organization",
    "usage.episodes.reading": "anomalies are looked for among the calls of everybody",
    "usage.episodes.following:_kept": "the anomalies of everybody",
    "usage.episodes.webhooks": "master keys seal the secrets of everybody",
    "config.anomaly_hooks:post_anomalies": "posts those of everybody, one by one",
    "usage.episodes.telling:tell_anomalies": "tells everybody of theirs, one by one",
    # Tasks: their payload is the id of one row, which names its organization.
    "candidates.briefings:draft_briefing": "by the id in the task",
    "candidates.trials:_claim": "by the id in the task",
    "providers.keys.validation:validate_key": "by the id in the task",
    # By the id of a key that the caller holds: an organization's own, or a managed one of the platform.
    "providers.keys.saving": "locks and changes a key that the caller found in its organization",
    "providers.keys.replacement": "locks and changes a key that the caller found in its organization",
    "providers.custody.rotation": "of the keys of one organization, by their ids",
    "providers.cards:key_row": "the replacements of a key that the view found in its organization",
    "providers.keys.validation:_locked_with_replaced": "a key that was found before, and the one it replaces",
    "providers.keys.validation:_open_validation": "of the key that the caller locked",
    "providers.keys.validation:request_validation": "of a key that the caller found in its organization",
    "providers.keys.validation:_apply_outcome": "of the key that was validated",
    "providers.keys.validation:note_keys_used": "of the key that a call left with",
    "providers.keys.validation:mark_key_refused": "of the key that a call left with",
    "routing.views:_remove_form": "the rules of a key that the view found in its organization",
    "providers.views:models": "of the key that the view found in its organization",
    # Before any organization is known.
    "organizations.invitations:find_invitation": "by the digest of the link's token, which only its reader has",
    "organizations.invitations:is_known": "the same",
    "organizations.invitations:accepted_before": "by the digest of the link's token, which only its reader has",
    "gateway.snapshot_reading:find_tokens": "by the prefixes of tokens, which say whose they are",
    "organizations.api_tokens:_find": "by the prefix of the token, which says whose it is",
    "benchmarks.volume": "fills a database of its own",
    "benchmarks.pages_once": "the same",
    # Staff, who see every organization.
    "billing.admin": "staff",
    "config.admin.organizations": "staff",
    "config.admin.accounts": "staff",
    "config.admin.dashboard": "staff",
    "organizations.admin": "staff",
    "organizations.forms": "the form of staff",
    "organizations.guarded_admin": "staff",
    "organizations.long_lists": "staff",
    "providers.admin": "staff",
    "routing.admin": "staff",
    "providers.managed_keys_admin": "staff",
}

NOT_OURS = (
    "/django/contrib/admin/",  # staff
    "/unfold/",
    "/django/core/serializers/",  # dumpdata
)
ROWS_IN_HAND = (
    "django/db/models/base.py",  # save, refresh_from_db, and delete with what goes with it
    "django/db/models/fields/related_descriptors.py",  # row.other, where a foreign key points to
)
PROJECT = str(settings.BASE_DIR)
TESTS = str(Path(settings.BASE_DIR) / "tests")
GUARDS = ("tests/query_guard.py", "tests/lock_guard.py")  # they stand between the query and who asks
NAMES_ITS_ORGANIZATION = re.compile(
    r'"(?:organization_id|organizations_organization"\."(?:id|slug))" '
    r'(?:= %s|= \(SELECT %s::bigint\)|= ANY\(%s\)|IN \()|"is_platform"(?! = )',
    re.IGNORECASE,
)


class QueryWithoutOrganization(AssertionError):
    pass


@contextmanager
def guarding() -> Iterator[None]:
    """Guard all connections, those of threads that open their own meanwhile as well."""
    with ExitStack() as stack:
        for connection in connections.all(initialized_only=True):
            stack.enter_context(connection.execute_wrapper(guard))

        def also(connection: Any, **kwargs: Any) -> None:
            if guard not in connection.execute_wrappers:
                connection.execute_wrappers.append(guard)

        connection_created.connect(also)
        try:
            yield
        finally:
            connection_created.disconnect(also)


def guard(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    problem = _problem(str(sql))
    if problem:
        raise QueryWithoutOrganization(f"{problem}: {sql}")
    return execute(sql, params, many, context)


def _problem(sql: str) -> str:
    if sql.lstrip(" (").partition(" ")[0].upper() not in ("SELECT", "UPDATE", "DELETE", "WITH"):
        return ""
    if not _tenant_tables().search(sql) or _names_its_organization(sql):
        return ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.endswith(ROWS_IN_HAND) or any(part in file for part in NOT_OURS):
            return ""
        if (
            file.endswith("django/db/models/query.py")
            and frame.f_code.co_name == "delete"
            and _names_its_organization(frame.f_locals["self"].query.sql_with_params()[0])
        ):
            return ""  # what goes with the deleted rows
        # The virtual environment may lie inside the project; what is installed there is not ours.
        if file.startswith(PROJECT) and "/site-packages/" not in file and not file.endswith(GUARDS):
            break
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(TESTS):
        return ""
    module = frame.f_globals["__name__"]
    function = f"{module}:{frame.f_code.co_qualname}"
    return "" if module in UNSCOPED or function in UNSCOPED else function


def _names_its_organization(sql: str) -> bool:
    where = sql.upper().find(" WHERE ")
    return where >= 0 and NAMES_ITS_ORGANIZATION.search(sql, where) is not None


@cache
def _tenant_tables() -> re.Pattern[str]:
    tables = [
        model._meta.db_table
        for model in apps.get_models()
        if any(field.name == "organization" for field in model._meta.fields)
    ]
    return re.compile(r'(?:FROM|JOIN|UPDATE) "(?:' + "|".join(tables) + ')"')
