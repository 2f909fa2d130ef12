from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from tempfile import TemporaryFile
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from candidates.management.commands import import_candidates
from candidates.models import Candidate
from candidates.profiles import importing
from organizations.models import AuditEvent, Organization


def run(*arguments: object) -> str:
    out = io.StringIO()
    call_command("import_candidates", *map(str, arguments), stdout=out, stderr=io.StringIO())
    return out.getvalue()


@pytest.fixture
def good(tmp_path):
    file = tmp_path / "good.jsonl"
    file.write_text('{"basics": {"name": "Ann Example"}}\n{"basics": {"name": "Ben Example"}}\n')
    return file


@pytest.fixture
def bad(tmp_path):
    file = tmp_path / "bad.json"
    file.write_text('[{"basics": {}}]')
    return file


def test_the_report_of_one_file_has_the_documented_shape(acme, tmp_path):
    file = tmp_path / "mixed.jsonl"
    file.write_text('{"basics": {"name": "Ann Example"}}\n\n{}\n')

    report = json.loads(run("--organization", "acme", file, "--json"))

    assert report == {
        "imported": 1,
        "updated": 0,
        "unchanged": 0,
        "errors": [
            {
                "line": 3,
                "reason": "It has neither a name nor a label, e-mail or candidate_id. Fill in basics.name.",
            }
        ],
    }


def test_errors_of_several_files_name_their_file_and_the_rest_is_kept(acme, good, bad, tmp_path):
    unreadable = tmp_path / "table.csv"
    unreadable.write_text("name,mail\nAnn,a@example.com")

    report = json.loads(run("--organization", "acme", good, bad, unreadable, "--json"))

    assert report["imported"] == 2
    assert [(error["file"], error["line"]) for error in report["errors"]] == [
        (str(bad), 1),
        (str(unreadable), 0),
    ]
    assert Candidate.objects.for_organization(acme).count() == 2


def test_a_second_run_says_unchanged_and_still_exits_with_0(acme, good):
    run("--organization", "acme", good)

    assert run("--organization", "acme", good) == "0 imported, 0 updated, 2 unchanged, 0 refused.\n"


def test_an_empty_file_is_nothing_wrong(acme, tmp_path):
    file = tmp_path / "empty.jsonl"
    file.touch()

    assert json.loads(run("--organization", "acme", file, "--json"))["errors"] == []


def test_it_exits_with_1_if_something_was_wrong_and_no_row_was_good(acme, bad):
    with pytest.raises(SystemExit) as stopped:
        run("--organization", "acme", bad)

    assert stopped.value.code == 1


def test_a_file_that_is_not_there_is_said_before_anything_is_imported(acme, good, tmp_path):
    with pytest.raises(CommandError, match=r"missing\.jsonl cannot be read: No such file or directory\."):
        run("--organization", "acme", good, tmp_path / "missing.jsonl")

    assert not Candidate.objects.exists()


def test_a_named_pipe_is_read_like_a_file(acme, good, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[good.read_bytes()], daemon=True)
    writer.start()

    assert run("--organization", "acme", pipe) == "2 imported, 0 updated, 0 unchanged, 0 refused.\n"


@pytest.mark.parametrize(
    ("temporary_file", "why"),
    [
        (lambda: open("/dev/full", "w+b"), "No space left on device"),  # noqa: SIM115
        (partial(TemporaryFile, dir="/nowhere"), "No such file or directory"),
    ],
)
def test_where_no_temporary_file_can_be_written_a_sentence_says_so(acme, good, monkeypatch, temporary_file, why):
    monkeypatch.setattr(import_candidates, "TemporaryFile", temporary_file)

    with pytest.raises(CommandError, match=f"temporary file meanwhile: {why}. Set TMPDIR"):
        run("--organization", "acme", good)

    assert not Candidate.objects.exists()


def interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_import_says_how_far_it_came_and_the_next_one_does_the_rest(acme, good, monkeypatch):
    monkeypatch.setattr(importing, "CHUNK_ROWS", 1)
    import_chunk = importing._import_chunk
    chunks: Iterator[Callable[..., Any]] = iter([import_chunk, interrupt])
    monkeypatch.setattr(importing, "_import_chunk", lambda *given: next(chunks)(*given))

    with pytest.raises(CommandError, match=r"Interrupted after 1 of 2 profiles, which stay imported\.") as stopped:
        run("--organization", "acme", good)

    assert stopped.value.returncode == 130
    assert AuditEvent.objects.get().details == {"imported": 1, "updated": 0}
    monkeypatch.setattr(importing, "_import_chunk", import_chunk)
    assert run("--organization", "acme", good) == "1 imported, 0 updated, 1 unchanged, 0 refused.\n"


@pytest.fixture
def at_a_terminal() -> Iterator[None]:
    """Ctrl-C counts, also where the tests themselves were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("at_a_terminal")
def test_ctrl_c_waits_for_the_end_of_a_transaction(acme, good, monkeypatch):
    """In the middle of a commit, what it stored would neither be counted nor stand in the audit log."""
    monkeypatch.setattr(importing, "CHUNK_ROWS", 1)
    import_chunk = importing._import_chunk

    def interrupted(*given: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return import_chunk(*given)

    monkeypatch.setattr(importing, "_import_chunk", interrupted)
    handler = signal.getsignal(signal.SIGINT)

    with pytest.raises(CommandError, match=r"Interrupted after 1 of 2 profiles"):
        run("--organization", "acme", good)

    assert AuditEvent.objects.get().details == {"imported": Candidate.objects.count(), "updated": 0}
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.usefixtures("at_a_terminal")
def test_ctrl_c_pressed_again_does_not_wait(acme, good, monkeypatch):
    def interrupted(*_: Any) -> None:
        holding = signal.getsignal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        while signal.getsignal(signal.SIGINT) is holding:  # Python notes a signal when it comes to it
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)
        time.sleep(60)  # ended by it

    monkeypatch.setattr(importing, "_import_chunk", interrupted)

    with pytest.raises(CommandError, match=r"Interrupted; nothing was imported\."):
        run("--organization", "acme", good)


@pytest.mark.usefixtures("at_a_terminal")
def test_an_import_in_the_background_is_not_interrupted(acme, good, monkeypatch):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_chunk = importing._import_chunk

    def interrupted(*given: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return import_chunk(*given)

    monkeypatch.setattr(importing, "_import_chunk", interrupted)

    run("--organization", "acme", good)

    assert Candidate.objects.count() == 2


def test_an_import_that_is_interrupted_while_it_reads_says_that_nothing_was_imported(acme, good, monkeypatch):
    monkeypatch.setattr(import_candidates, "parse_file", lambda *_, **named: interrupt())

    with pytest.raises(CommandError, match=r"Interrupted; nothing was imported\."):
        run("--organization", "acme", good)

    assert not Candidate.objects.exists()


def test_it_imports_into_open_customer_organizations_only(acme, good):
    Organization.objects.create(name="Platform", slug="platform", is_platform=True)
    Organization.objects.create(name="Gone", slug="gone", closed_at=timezone.now())

    for slug in ("nobody", "platform", "gone"):
        with pytest.raises(CommandError, match=f"There is no organization “{slug}”"):
            run("--organization", slug, good)
