"""Runs and labels come from what clients send anyway; they decide no rights and stay within bounds."""

from __future__ import annotations

import uuid
from datetime import date

import pytest

from gateway.door.attribution import MOST_NAMES_A_DAY, MOST_VALUES_A_DAY, OTHER, Iterations, Labels, run_of

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-keyfare-run": "run 1"},
        {"x-claude-code-session-id": "s", "x-claude-code-agent-id": "a"},
        {"session-id": "s", "thread-id": "t"},
        {"x-session-id": "s"},
        {"x-openwebui-chat-id": "c"},
        {"traceparent": TRACE},
    ],
)
def test_the_same_run_is_known_again_by_its_token_alone(headers) -> None:
    assert run_of(1, headers) == run_of(1, dict(headers))
    assert run_of(1, headers) != run_of(2, headers)


def test_our_own_header_comes_before_those_of_clients_and_a_trace_last() -> None:
    every = {"x-keyfare-run": "mine", "x-session-id": "s", "traceparent": TRACE}
    assert run_of(1, every) == run_of(1, {"x-keyfare-run": "mine"})
    del every["x-keyfare-run"]
    assert run_of(1, every) == run_of(1, {"x-session-id": "s"})


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-session-id": "  "}, {"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"}, {"traceparent": "x"}],
)
def test_a_call_that_names_no_run_is_one_of_its_own(headers) -> None:
    assert run_of(1, headers) is None


def test_very_long_names_are_cut() -> None:
    assert run_of(1, {"x-keyfare-run": "a" * 200}) == run_of(1, {"x-keyfare-run": "a" * 9_000})


def test_subagents_of_one_session_are_runs_of_their_own() -> None:
    session = {"x-claude-code-session-id": "s"}
    assert run_of(1, session) != run_of(1, {**session, "x-claude-code-agent-id": "a"})


def test_iterations_count_on_and_the_oldest_runs_are_forgotten() -> None:
    counted, runs = Iterations(most=2), [uuid.uuid4() for _ in range(3)]
    assert [counted.next(runs[0]), counted.next(runs[0]), counted.next(runs[1])] == [1, 2, 1]
    assert [counted.next(runs[2]), counted.next(runs[0])] == [1, 1]


def labels(**given: str) -> dict[str, str]:
    return {f"x-keyfare-label-{name}": value for name, value in given.items()}


def test_labels_are_taken_as_they_are_within_bounds() -> None:
    known, today = Labels(), date(2026, 11, 28)
    assert known.of(1, labels(team="red", env=" a  b ", empty=" "), today) == {"team": "red", "env": "a b"}
    many = {str(number): "x" for number in range(9)}
    assert len(known.of(1, labels(**many), today)) == 5


def test_too_many_values_of_a_day_are_others_and_the_next_day_begins_anew() -> None:
    known, today = Labels(), date(2026, 11, 28)
    for number in range(MOST_VALUES_A_DAY):
        known.of(1, labels(user=str(number)), today)
    assert known.of(1, labels(user="one more"), today) == {"user": OTHER}
    assert known.of(1, labels(user="7"), today) == {"user": "7"}
    assert known.of(2, labels(user="one more"), today) == {"user": "one more"}
    assert known.of(1, labels(user="one more"), date(2026, 11, 29)) == {"user": "one more"}


def test_too_many_names_of_a_day_are_others() -> None:
    known, today = Labels(), date(2026, 11, 28)
    for number in range(MOST_NAMES_A_DAY):
        known.of(1, labels(**{f"name{number}": "x"}), today)
    assert known.of(1, labels(another="x"), today) == {OTHER: OTHER}


def test_a_run_and_its_labels_stand_in_the_books(running_door) -> None:
    for _ in range(2):
        running_door.post(
            "/v1/chat/completions",
            {"model": "openai-agent", "messages": [{"role": "user", "content": "Hello"}]},
            x_keyfare_run="nightly",
            x_keyfare_label_team="red",
        )
    first, second = running_door.events
    assert first.run_id == second.run_id
    assert [first.iteration, second.iteration] == [1, 2]
    assert first.labels == {"team": "red"}
    assert [first.counts_run, second.counts_run] == [True, False]
