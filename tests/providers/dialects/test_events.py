"""Where events end, whatever their line ends, and that no byte is lost, changed or kept back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import settings as unhurried
from hypothesis import strategies as st

from providers.adapters.dialects.events import (
    Cutter,
    ElementCutter,
    EventCutter,
    Kind,
    element_in,
    events_in,
    fields_of,
)
from tests.providers.dialects.feeding import cut, one_by_one


def cut_up(cutter: Cutter, pieces: list[bytes]) -> list[bytes]:
    return [piece.raw for fed in pieces for piece in cutter.feed(fed)] + [cutter.rest()]


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n", "\r\n\n", "\r\n\r", "\n\r"])
def test_an_event_is_handed_on_with_the_last_byte_that_ends_it_and_not_before(end):
    event = f"data: 1{end}".encode()
    cutter = EventCutter()

    handed_on = [b"".join(piece.raw for piece in cutter.feed(byte)) for byte in one_by_one(event)]

    ends_with = next(at for at in range(len(event)) if handed_on[at])
    # A CR ends a line whether or not its LF comes.
    assert event[ends_with + 1 :] in (b"", b"\n")
    assert b"".join(handed_on) == event


@pytest.mark.parametrize("text", [b"data: 1", b"data: 1\n", b"data: 1\r\n", b"data: 1\r", b"data: 1\r\nid: 2\r\n"])
@pytest.mark.parametrize("pieces", [lambda text: [text], one_by_one])
def test_one_line_end_ends_no_event(text, pieces):
    cutter = EventCutter()

    assert [piece for fed in pieces(text) for piece in cutter.feed(fed)] == []
    assert cutter.rest() == text


@pytest.mark.parametrize(
    ("event", "name", "data"),
    [
        (b"data: 1\n\n", b"", b"1"),
        (b"data:1\n\n", b"", b"1"),
        (b"data:  1\n\n", b"", b" 1"),
        (b"data\n\n", b"", b""),
        (b"event: ping\ndata: {}\n\n", b"ping", b"{}"),
        (b"data: [1,\ndata: 2]\n\n", b"", b"[1,\n2]"),
        (b"data: [1,\r\ndata: 2]\r\n\r\n", b"", b"[1,\n2]"),
        (b"data: [1,\rdata: 2]\r\r", b"", b"[1,\n2]"),
        (b": a comment\n\n", b"", b""),
        (b": a comment\ndata: 1\nid: 7\nretry: 10\n\n", b"", b"1"),
        (b"\n\n", b"", b""),
        (b"datum: 1\n\n", b"", b""),
        ("data: é\u2028\x0b\x0c\x85\n\n".encode(), b"", "é\u2028\x0b\x0c\x85".encode()),
    ],
)
def test_the_fields_of_an_event_are_read_as_the_standard_says(event, name, data):
    assert fields_of(event) == (name, data)


def test_several_events_come_out_together_and_are_told_apart():
    body = b"data: 1\n\n: comment\n\n\ndata: 2\r\n\r\ndata: 3\r\rdata: 4"

    [piece] = EventCutter().feed(body)

    assert piece == (Kind.WHOLE, body.removesuffix(b"data: 4"))
    assert [fields_of(event)[1] for event in events_in(body)] == [b"1", b"", b"2", b"3", b"4"]


@pytest.mark.parametrize("pieces", [lambda body: [body], one_by_one, lambda body: cut(body, range(0, len(body), 7))])
def test_an_event_that_is_too_long_is_passed_on_in_parts_and_the_next_one_is_whole_again(pieces):
    body = b"data: 1\n\n" + b"data: " + b"x" * 100 + b"\n\n" + b"data: 2\n\n"
    cutter = EventCutter(most_event_bytes=50)

    cut_off = [piece for fed in pieces(body) for piece in cutter.feed(fed)]

    assert b"".join(piece.raw for piece in cut_off) == body
    assert cutter.rest() == b""
    assert cutter.is_between_events
    assert cut_off[-1] == (Kind.WHOLE, b"data: 2\n\n") or cut_off == [(Kind.WHOLE, body)]


def test_no_more_is_held_than_an_event_may_have():
    cutter = EventCutter(most_event_bytes=1_000)
    kept_back = 0

    for _ in range(100):
        kept_back += 100 - sum(len(piece.raw) for piece in cutter.feed(b"x" * 100))
        assert kept_back <= 1_000
    assert not cutter.is_between_events


@pytest.mark.parametrize(
    ("array", "elements"),
    [
        (b'[{"a": 1}]', [b'{"a": 1}']),
        (b'[{"a": 1}\n,\r\n{"b": "}]"}\n]', [b'{"a": 1}', b'{"b": "}]"}']),
        (rb'[{"a": "\"]}\\"},{"b": [{}, [1]]}]', [rb'{"a": "\"]}\\"}', b'{"b": [{}, [1]]}']),
        (b' [ {"a": {"b": {}}} ] ', [b'{"a": {"b": {}}}']),
        (b"[]", []),
        (b'{"a": [1, 2]}', [b'{"a": [1, 2]}']),
        (b'{"a": 1}{"b": 2}', [b'{"a": 1}', b'{"b": 2}']),
    ],
)
@pytest.mark.parametrize("pieces", [lambda body: [body], one_by_one])
def test_an_array_is_cut_after_each_element(array, elements, pieces):
    cutter = ElementCutter()

    cut_off = cut_up(cutter, pieces(array))

    assert b"".join(cut_off) == array
    assert [element for piece in cut_off if (element := element_in(piece))] == elements
    assert cutter.has_ended == array.strip().startswith(b"[")


def test_an_array_that_was_cut_off_has_not_ended():
    cutter = ElementCutter()

    assert cut_up(cutter, [b'[{"a": 1},', b'{"b": "]']) == [b'[{"a": 1}', b",", b'{"b": "]']
    assert not cutter.has_ended


TEXTS = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"data: ", b"{", b"}", b"[", b"]", b'"', b"\\", b",", b"x", b"\xff", b":"]),
    max_size=40,
).map(b"".join)


@unhurried(deadline=None, max_examples=200)
@example(cutter=EventCutter, body=b"x\r\n\r\n\n\r", places={3, 4}, most=100)
@given(
    cutter=st.sampled_from([EventCutter, ElementCutter]),
    body=TEXTS | st.binary(max_size=60),
    places=st.sets(st.integers(0, 100)),
    most=st.integers(1, 100),
)
def test_nothing_is_lost_or_changed_whatever_comes(cutter, body, places, most):
    assert b"".join(cut_up(cutter(most), cut(body, places))) == body


@unhurried(deadline=None, max_examples=200)
@given(body=TEXTS, places=st.sets(st.integers(0, 100)))
def test_cuts_change_nothing_about_where_events_end(body, places):
    def events(pieces: list[bytes]) -> list[bytes]:
        cutter = EventCutter()
        return [event for fed in pieces for piece in cutter.feed(fed) for event in events_in(piece.raw)]

    def told(events: list[bytes]) -> list[tuple[bytes, bytes]]:
        return [fields for event in events if (fields := fields_of(event)) != (b"", b"")]

    assert told(events(cut(body, places))) == told(events([body]))
