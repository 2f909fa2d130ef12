"""Where the code opens the wall, by name; and that nothing else does."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.core.management import call_command

from organizations import tenancy
from organizations.tenancy import tenant_tables
from tests.config.test_incidents import APPS, sources

# File and function → the reason given there. Each of these sees every organization, or none.
NOT_OF_ONE_ORGANIZATION = {
    ("manage.py", ""): {"EVERY": "commands are the operator's"},
    ("config/schedules.py", "run"): {"EVERY": "jobs serve the whole installation"},
    ("config/startup.py", "problems"): {"EVERY": "looks at the whole installation before anything is served"},
    ("config/startup.py", "_look_at_stored_keys"): {
        "EVERY": "tries the keys of everybody, so that pages and calls know which do not open"
    },
    ("config/metrics/exposition.py", "_OfTheInstallation.collect"): {"EVERY": "metrics are of the whole installation"},
    ("config/management/commands/qcluster.py", "Command.handle"): {"NOBODY": "every task opens a scope of its own"},
    ("candidates/tasks.py", "run_checks"): {
        "EVERY": "one worker serves the checks of everybody, each behind the wall of its organization"
    },
    ("candidates/tasks.py", "draft_briefing"): {"EVERY": "the briefing of the task tells its organization"},
    ("candidates/tasks.py", "run_trial"): {"EVERY": "the trial of the task tells its organization"},
    ("providers/tasks.py", "validate_key"): {"EVERY": "the validation of the task tells its organization"},
    ("providers/tasks.py", "tell_key_broke"): {"EVERY": "the key of the task tells its organization"},
    ("organizations/tenancy.py", "TenancyMiddleware.__call__"): {
        "EVERY": "staff operate the whole installation",
        "NOBODY": "no organization is known yet",
    },
    ("organizations/permissions.py", "memberships_of"): {
        "EVERY": "a person's memberships lie in several organizations"
    },
    ("organizations/invitations.py", "accept_invitation"): {"EVERY": "the link says which organization"},
    ("organizations/invitations.py", "find_invitation"): {"EVERY": "the link says which organization"},
    ("organizations/invitations.py", "accepted_before"): {"EVERY": "the link says which organization"},
    ("organizations/invitations.py", "is_known"): {"EVERY": "the link says which organization"},
    ("organizations/email_changes.py", "find_link"): {"EVERY": "a person's organizations are several"},
    ("organizations/email_changes.py", "confirm_email_change"): {"EVERY": "a person's organizations are several"},
    ("organizations/email_changes.py", "refuse_email_change"): {"EVERY": "a person's organizations are several"},
    ("organizations/management/commands/change_email.py", "Command.handle"): {
        "EVERY": "a person's organizations are several"
    },
    ("config/account_events.py", "address_changed"): {"EVERY": "a person's organizations are several"},
    ("organizations/api_tokens.py", "use_token"): {"EVERY": "the token says which organization"},
    ("gateway/dispatch.py", "_opened"): {
        "_behind_the_wall_of(organization.pk, route.mode)": "a managed key is the platform's"
    },
    ("gateway/snapshot_reading.py", "find_tokens"): {"EVERY": "the token says which organization"},
    ("gateway/snapshots.py", "_note"): {"EVERY": "tokens of everybody were used"},
    ("gateway/writer.py", "Writer._store"): {"EVERY": "the writer of the calls of everybody"},
    ("gateway/writer.py", "_begin_thread"): {"EVERY": "the writer of the calls of everybody"},
    ("gateway/dispatch.py", "_remember"): {
        "_behind_the_wall_of(ticket.call.organization_id, ticket.call.facts.mode)": "a managed key is the platform's"
    },
    ("routing/resolve.py", "managed_keys"): {"EVERY": "managed keys are the platform's"},
    ("usage/exports/sealing.py", "seal_due_months"): {"EVERY": "the months of every organization are sealed"},
    ("usage/exports/sealing.py", "_seal_next"): {"EVERY": "a boundary is of the events of everybody"},
}
# Our tables without an `organization` column, so without a policy → why their rows are nobody's.
NOBODYS_TABLES = {
    "organizations.User": "people belong to organizations through memberships, which are walled",
    "organizations.EmailChange": "of a person, whatever the organization",
    "organizations.Organization": "the tenants themselves; reached through memberships",
    "routing.ManagedDefault": "the operator's choice for everybody: provider and model",
    "candidates.ProfileSighting": "keyed digests and times, for recency across organizations that joined",
    "usage.RollupState": "how far the one rollup got",
    "config.CallCount": "sums over everybody, by names of closed lists",
    "config.CallsCounted": "how far that counting got",
    "config.UsageCheck": "what staff are told of sums that are wrong, and no page of an organization",
    "config.WorkerCluster": "signs of life of the worker, which serves everybody",
    "config.HeldTask": "which cluster holds a task, whose payload is ids",
    "organizations.OutgoingMail": "mails to people, sealed, for a while; shown to staff only",
    "organizations.MailServer": "how the one mail server is doing",
    "gateway.Change": "that something changed, for SQLite",
    "config.Sentinel": "whether a secret of the installation is still the same",
}
STARTS_THREADS = {
    "providers/egress/short_calls.py": "an event loop for one call out; no database",
    "providers/egress/lookups.py": "looks names up; no database",
    "config/startup.py": "opens EVERY for itself",
    "config/health.py": "asks for tables of nobody, and config/startup.py",
    "config/metrics/exposition.py": "opens EVERY for itself",
    "config/worker/alarm.py": "asks for tables of nobody, and mails ADMINS",
    "config/worker/lifeline.py": "waits for the end of a pipe; no database",
    "config/worker/cluster.py": "writes the beat of a task to shared memory; no database",
    "gateway/snapshots.py": "every reading opens an organization, or EVERY, for itself",
    "gateway/door/receipts.py": "opens the organization of the caller for itself",
    "gateway/door/stored_ids.py": "the same",
    "gateway/writer.py": "opens EVERY, as it writes for everybody",
    "organizations/outbox/delivery.py": "talks to the mail server; no database",
    "organizations/outbox/at_once.py": "hands a mail to the thread above; no database",
}


class Calls(ast.NodeVisitor):
    """Every call in a file: dotted name of the function it stands in or decorates, whether that is async, the call."""

    def __init__(self) -> None:
        self.names: list[tuple[str, bool]] = []
        self.found: list[tuple[str, bool, ast.Call]] = []

    def _inside(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.names.append((node.name, isinstance(node, ast.AsyncFunctionDef)))
        self.generic_visit(node)
        self.names.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _inside  # noqa: N815  # names of ast

    def visit_Call(self, node: ast.Call) -> None:
        name = ".".join(name for name, _ in self.names)
        self.found.append((name, bool(self.names) and self.names[-1][1], node))
        self.generic_visit(node)


def calls_of(name: str) -> Iterator[tuple[str, str, bool, ast.Call]]:
    for file, tree in sources():
        visitor = Calls()
        visitor.visit(tree)
        for function, is_async, call in visitor.found:
            if name in (getattr(call.func, "id", ""), getattr(call.func, "attr", "")):
                yield file, function, is_async, call


def test_every_scope_that_is_not_one_organization_is_listed_with_its_reason():
    found: dict[tuple[str, str], dict[str, str]] = {}
    for file, function, _, call in calls_of("scope"):
        whose, reason = call.args
        assert isinstance(reason, ast.Constant), (file, function)
        name = ast.unparse(whose)
        if name.rpartition(".")[2] not in ("organization", "organization_id"):  # a variable or attribute that holds one
            found.setdefault((file, function), {})[name] = str(reason.value)

    assert found == NOT_OF_ONE_ORGANIZATION


def test_other_files_take_scopes_from_one_file_by_their_own_names():
    public = {
        *("scope", "EVERY", "NOBODY", "wall_in", "refuse_role_above_the_wall", "shows_everybody"),
        *("OPTION_TO_SEE_EVERY", "forget_scope"),
    }
    for file, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "organizations.tenancy":
                assert {alias.name for alias in node.names} <= public, file
                assert {alias.asname for alias in node.names} == {None}, file
            if isinstance(node, ast.ImportFrom) and "tenancy" in {alias.name for alias in node.names}:
                assert file == "organizations/apps.py"  # which connects `on_connection`
            if isinstance(node, ast.Constant) and "keyfare.organization" in str(node.value):
                assert file == "organizations/tenancy.py"  # the database's variable


def test_scopes_are_opened_in_synchronous_code_only():
    """The database's variable is of a thread's connection, which other tasks of an event loop would share."""
    assert [(file, function) for file, function, is_async, _ in calls_of("scope") if is_async] == []


def test_threads_that_begin_outside_every_scope_are_listed():
    """A new thread begins with NOBODY; asgiref's, which requests run in, take the scope along."""
    started = {file for name in ("Thread", "ThreadPoolExecutor", "to_thread") for file, *_ in calls_of(name)}

    assert {file for file in started if not file.startswith("simulator/")} == set(STARTS_THREADS)


def test_every_table_of_ours_is_walled_in_or_nobodys():
    """A row reached only through a parent that belongs to an organization needs the column itself."""
    walled = set(tenant_tables(apps))
    others = {
        model._meta.label
        for model in apps.get_models()
        if model.__module__.partition(".")[0] in APPS and model._meta.db_table not in walled
    }

    assert others == set(NOBODYS_TABLES)


@pytest.mark.parametrize("label", list(NOBODYS_TABLES))
def test_nobodys_tables_point_to_nothing_of_an_organization(label):
    for field in apps.get_model(label)._meta.get_fields(include_hidden=False):
        if field.many_to_one or (field.one_to_one and not field.auto_created):
            assert field.related_model._meta.db_table not in tenant_tables(apps), field


def test_qcluster_begins_with_nobodys_rows_its_supervisor_too(monkeypatch):
    seen: list[str] = []
    monkeypatch.setattr("config.management.commands.qcluster.refuse_unsafe_start", lambda **_: None)
    monkeypatch.setattr("config.management.commands.qcluster.set_aside_what_is_loaded", lambda: None)
    monkeypatch.setattr("config.worker.supervisor.run", lambda: seen.append(tenancy._scope.get()))

    with tenancy.scope(tenancy.EVERY, "as manage.py does"), pytest.raises(SystemExit):
        call_command("qcluster")

    assert seen == [tenancy.NOBODY]
