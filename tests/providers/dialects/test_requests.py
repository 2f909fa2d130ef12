"""What a request asks for, and the same request for another model: nothing else of it may change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as unhurried
from hypothesis import strategies as st

from providers.adapters.dialects import request
from providers.adapters.dialects.anthropic import ANTHROPIC_MESSAGES
from providers.adapters.dialects.base import Dialect
from providers.adapters.dialects.embeddings import OPENAI_EMBEDDINGS
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.dialects.request import BadBody
from providers.adapters.dialects.responses import OPENAI_RESPONSES

PATH = "/v1beta/models/gemini-4:generateContent"
IN_BODY: list[Dialect] = [OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC_MESSAGES, OPENAI_EMBEDDINGS]
in_body = pytest.mark.parametrize("dialect", IN_BODY, ids=lambda dialect: type(dialect).__name__)

ODD = rb"""
{ "messages" : [{"role":"user","content":"Gr\u00fc\u00dfe \ud83d\ude00 \ud800 \/ "}],"temperature":1.0e0, "x":1E400,
  "big":12345678901234567890.10, "model"  :	"mo\u0064el-a", "nested": {"model": "model-a"}, "n\u00fcll":null,
  "seed": -0, "metadata":{}, "same":[1, 1]}
"""


@in_body
def test_every_byte_but_the_models_name_is_kept(dialect):
    rewritten = dialect.request(ODD).rewritten(model="model-b")

    assert rewritten == ODD.replace(rb'"mo\u0064el-a"', b'"model-b"')


@in_body
def test_a_body_for_the_model_it_names_is_the_same_body(dialect):
    asked = dialect.request(ODD)

    assert asked.model == "model-a"
    assert asked.rewritten(model="model-a") == ODD


@in_body
@pytest.mark.parametrize(
    ("body", "code", "name"),
    [
        (b"", "not_json", ""),
        (b"[]", "not_json", ""),
        (b'"model"', "not_json", ""),
        (b'{"model": "a"', "not_json", ""),
        (b'{"model": "a",}', "not_json", ""),
        (b'{"model": "a"} {}', "not_json", ""),
        (b"{'model': 'a'}", "not_json", ""),
        (b'{"model": "\xff"}', "not_json", ""),
        (b'\xef\xbb\xbf{"model": "a"}', "not_json", ""),
        ('{"model": "a"}'.encode("utf-16"), "not_json", ""),
        (b'{"model": "a", "x": ' + b"[" * 100_000, "not_json", ""),
        (b"{}", "missing", "model"),
        (b'{"model": null}', "wrong_type", "model"),
        (b'{"model": ""}', "wrong_type", "model"),
        (b'{"model": ["a"]}', "wrong_type", "model"),
        (b'{"model": "allowed", "model": "forbidden"}', "twice", "model"),
        (b'{"model": "allowed", "mod\\u0065l": "forbidden"}', "twice", "model"),
    ],
)
def test_a_body_that_cannot_be_passed_on_says_why(dialect, body, code, name):
    with pytest.raises(BadBody) as refused:
        dialect.request(body)

    assert (refused.value.code, refused.value.name) == (code, name)


@pytest.mark.parametrize(
    "twice",
    [
        b'"stream":false,"stream":true',
        b'"unknown":1,"unknown":2',
        b'"stream":true,"stream_options":{"include_usage":false,"include_usage":null}',
        b'"messages":[{"role":"user","content":[{"type":"text","text":"a","type":"text"}]}]',
        b'"tools":[{"function":{"parameters":{"properties":{"a":{},"\\u0061":{}}}}}]',
        b'"x":' + b'{"x":' * 500 + b'{"y":1,"y":1}' + b"}" * 500,
        b'"x":{"y":{"z":1,"z":1}},"x":1',
    ],
)
def test_no_object_in_a_body_may_name_a_member_twice(twice):
    with pytest.raises(BadBody, match="twice"):
        OPENAI_CHAT.request(b'{"model":"a",%b}' % twice)


def test_objects_beside_each_other_may_name_the_same_members():
    body = b'{"model":"a","messages":[{"role":"user","x":{"role":1}},{"role":"user"}],"x":"{\\"y\\":1,\\"y\\":2}"}'
    assert OPENAI_CHAT.request(body).rewritten(model="a") == body


def test_a_body_of_too_many_values_is_refused_and_a_long_text_is_not(monkeypatch):
    monkeypatch.setattr(request, "MOST_VALUES", 100)
    text = json.dumps('[{"a": 1, "b": "\\"}]' * 100)

    assert OPENAI_CHAT.request(b'{"model":"a","text":%b}' % text.encode()).model == "a"
    for many in (b"[" + b"1," * 100 + b"1]", b'"\\"' + text.encode() + b"," * 200):
        with pytest.raises(BadBody, match="too_many_values"):
            OPENAI_CHAT.request(b'{"model":"a","x":%b}' % many)


def test_objects_and_lists_that_are_read_one_by_one_have_a_bound(monkeypatch):
    monkeypatch.setattr(request, "MOST_MEMBERS", 100)
    members = b",".join(b'"%d":1' % number for number in range(99))
    assert OPENAI_CHAT.request(b'{"model":"a",%b}' % members).model == "a"
    assert OPENAI_CHAT.request(b'{"model":"a","x":{"b":1,"c":1,%b}}' % members).model == "a"
    with pytest.raises(BadBody, match="too_many_values"):
        OPENAI_CHAT.request(b'{"model":"a","x":1,%b}' % members)
    with pytest.raises(BadBody, match="too_many_values"):
        GEMINI.request(b'{"requests":[%b]}' % b",".join([b"{}"] * 101), "/v1beta/models/a:batchEmbedContents")


def test_a_name_that_stands_twice_is_found_in_one_look_at_each():
    """Not by one at every other: ten thousand would take seconds, and hold up whoever calls beside."""
    looked: list[str] = []

    class Name(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            looked.append(self)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    with pytest.raises(BadBody, match="twice 299"):
        request._by_name([(Name(number), number) for number in [*range(300), 299]])
    assert len(looked) < 600


# OpenAI's chat completions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (b'{"model":"a","stream":true}', b'{"model":"a","stream":true,"stream_options":{"include_usage":true}}'),
        (
            b'{ "stream": true, "model": "a" }\n',
            b'{ "stream": true, "model": "a","stream_options":{"include_usage":true} }\n',
        ),
        (
            b'{"model":"a","stream_options":null,"stream":true}',
            b'{"model":"a","stream_options":{"include_usage":true},"stream":true}',
        ),
        (
            b'{"model":"a","stream_options":{ },"stream":true}',
            b'{"model":"a","stream_options":{"include_usage":true },"stream":true}',
        ),
        (
            b'{"model":"a","stream_options":{"include_obfuscation": false},"stream":true}',
            b'{"model":"a","stream_options":{"include_usage":true,"include_obfuscation": false},"stream":true}',
        ),
        (
            b'{"model":"a","stream_options":{"x":1,"include_usage": false, "y":2},"stream":true}',
            b'{"model":"a","stream_options":{"x":1,"include_usage": true, "y":2},"stream":true}',
        ),
    ],
)
def test_a_stream_is_asked_for_its_usage_where_the_client_did_not_ask(asked, sent):
    read = OPENAI_CHAT.request(asked)

    assert (read.is_stream, read.asks_for_usage, read.can_ask_for_usage) == (True, False, True)
    assert read.rewritten(model="a") == sent
    assert read.rewritten(model="b") == sent.replace(b'"a"', b'"b"')
    assert read.rewritten(model="a", asks_for_usage=False) == asked, "a server that refuses to be asked"


@pytest.mark.parametrize(
    ("body", "streams", "asks"),
    [
        (b'{"model":"a","stream":true,"stream_options":{"include_usage":true}}', True, True),
        (b'{"model":"a","stream":true,"stream_options":"all"}', True, False),
        (b'{"model":"a","stream":false}', False, False),
        (b'{"model":"a","stream":null}', False, False),
        (b'{"model":"a"}', False, False),
    ],
)
def test_nothing_is_asked_for_where_it_was_or_cannot_be(body, streams, asks):
    read = OPENAI_CHAT.request(body)

    assert (read.is_stream, read.asks_for_usage, read.can_ask_for_usage) == (streams, asks, False)
    assert read.rewritten(model="a") == body


@pytest.mark.parametrize("stream", ["true", '"true"', "1"])
def test_what_a_lenient_server_takes_for_a_stream_is_one(stream):
    assert OPENAI_CHAT.request(f'{{"model":"a","stream":{stream}}}'.encode()).is_stream


@pytest.mark.parametrize(
    ("dialect", "fields", "limit", "answers"),
    [
        (OPENAI_CHAT, {"max_completion_tokens": 100}, 100, 1),
        (OPENAI_CHAT, {"max_tokens": 100, "max_completion_tokens": 200, "n": 3}, 200, 3),
        (OPENAI_CHAT, {"max_tokens": None}, None, 1),
        (OPENAI_CHAT, {"max_tokens": "100", "n": 0}, None, 1),
        (OPENAI_CHAT, {"max_tokens": True}, None, 1),
        (OPENAI_CHAT, {"max_tokens": 100.0}, 100, 1),
        (OPENAI_CHAT, {"max_tokens": -1}, None, 1),
        (OPENAI_RESPONSES, {"max_output_tokens": 100}, 100, 1),
        (ANTHROPIC_MESSAGES, {"max_tokens": 100}, 100, 1),
        (GEMINI, {"generationConfig": {"maxOutputTokens": 100, "candidateCount": 2}}, 100, 2),
        (GEMINI, {"generation_config": {"max_output_tokens": 100}}, 100, 1),
        (GEMINI, {"generationConfig": None}, None, 1),
        (GEMINI, {"generationConfig": [1]}, None, 1),
        (OPENAI_EMBEDDINGS, {"input": "text"}, None, 1),
    ],
)
def test_the_limit_of_the_output_is_read(dialect, fields, limit, answers):
    asked = dialect.request(json.dumps({"model": "a", **fields}).encode(), PATH)

    assert (asked.most_output_tokens, asked.answers) == (limit, answers)


@pytest.mark.parametrize("dialect", [OPENAI_RESPONSES, ANTHROPIC_MESSAGES], ids=["responses", "messages"])
def test_the_streams_of_others_tell_their_usage_unasked(dialect):
    asked = dialect.request(b'{"model":"a","stream":true}')

    assert (asked.is_stream, asked.can_ask_for_usage) == (True, False)
    assert asked.rewritten(model="b") == b'{"model":"b","stream":true}'


# Gemini ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "model", "is_stream", "sent"),
    [
        ("/v1beta/models/gemini-4:generateContent", "gemini-4", False, "models/b:generateContent"),
        ("/v1/models/gemini-4:streamGenerateContent", "gemini-4", True, "models/b:streamGenerateContent"),
        (
            "/v1/models/gemini-4:streamGenerateContent?key=secret&alt=sse",
            "gemini-4",
            True,
            "models/b:streamGenerateContent?alt=sse",
        ),
        ("models/a%2Fb:countTokens?alt=json", "a/b", False, "models/b:countTokens"),
        ("/v1/models/google/gemini-4:batchEmbedContents", "google/gemini-4", False, "models/b:batchEmbedContents"),
    ],
)
def test_geminis_model_stands_in_the_path_and_no_key_of_a_query_is_passed_on(path, model, is_stream, sent):
    asked = GEMINI.request(b'{ "contents": [] }', path)

    assert (asked.model, asked.is_stream) == (model, is_stream)
    assert asked.path(model="b") == asked.path(model="models/b") == sent
    assert asked.rewritten(model="b") == b'{ "contents": [] }'


@pytest.mark.parametrize(
    "path", ["", "/v1beta/models", "/v1beta/models/:generateContent", "/v1beta/model/a:generateContent"]
)
def test_a_path_without_a_model_is_refused(path):
    with pytest.raises(BadBody, match="missing model"):
        GEMINI.request(b"{}", path)


def test_a_models_name_cannot_lead_elsewhere():
    assert GEMINI.request(b"{}", PATH).path(model="../files?x=1#y") == "models/..%2Ffiles%3Fx%3D1%23y:generateContent"


@pytest.mark.parametrize(
    "body",
    [
        '{"model": "models/%s", "content": {"parts": [{"text": "model"}]}}',
        '{"requests": [{"model": "models/%s", "content": {}}, {"content": {}, "model":"models/%s"}, {}, 7]}',
        '{"generateContentRequest": {"model": "models/%s", "contents": []}}',
        '{"model": "%s"}',
        '{"model": null, "requests": {}}',
    ],
)
def test_geminis_model_is_exchanged_wherever_a_body_names_it(body):
    asked, meant = body.replace("%s", "gemini-4"), body.replace("%s", "b")

    assert GEMINI.request(asked.encode(), PATH).rewritten(model="b") == meant.encode()


# Whatever comes --------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["stream", "stream_options", "max_tokens", "n", "temperature", "tools"]) | st.text(max_size=5)


@unhurried(deadline=None, max_examples=150)
@given(
    fields=st.dictionaries(NAMES, VALUES, max_size=6), indent=st.none() | st.integers(0, 3), ascii_only=st.booleans()
)
def test_a_rewritten_body_says_the_same_but_for_model_and_usage(fields, indent, ascii_only):
    asked: dict[str, Any] = {**fields, "model": "a"}
    body = json.dumps(asked, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    for dialect in IN_BODY:
        sent = json.loads(dialect.request(body).rewritten(model="b"))
        meant = {**asked, "model": "b"}
        if dialect is OPENAI_CHAT and sent.get("stream_options") != meant.get("stream_options"):
            assert fields["stream"] not in (None, False)
            meant["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
        assert sent == meant


@unhurried(deadline=None, max_examples=150)
@example(body=b'{"model":"a","x":%b}' % (b"9" * 5_000))
@given(
    body=st.binary(max_size=40)
    | st.lists(
        st.sampled_from([b"{", b"}", b"[", b"]", b'"model"', b":", b",", b'"a"', b"1", b" ", b'"']), max_size=12
    ).map(b"".join)
)
def test_nothing_raises_but_that_a_body_is_bad(body):
    for dialect in (*IN_BODY, GEMINI):
        try:
            sent = dialect.request(body, PATH).rewritten(model="b")
        except BadBody:
            continue
        assert isinstance(json.loads(sent), dict)
