"""Only text reaches a model: no mark-up, no picture, and nothing of what people wrote is harmed."""

from __future__ import annotations

import base64
import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.profiles.pictures import text_without_pictures, without_pictures
from candidates.profiles.plain_text import plain
from candidates.profiles.reading import profile_text

PICTURE = base64.b64encode(random.Random(7).randbytes(3_000)).decode()
WRAPPED = "\n".join(PICTURE[start : start + 76] for start in range(0, len(PICTURE), 76))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Built <strong>payments</strong>.</p><p>Then <em>search</em>.</p>", "Built payments.\nThen search."),
        ("<ul><li><p>Led 5 people</p></li><li><p>Cut costs</p></li></ul>", "- Led 5 people\n- Cut costs"),
        ("<ul>\n  <li>\n    One\n  </li>\n  <li>Two</li>\n</ul>", "- One\n- Two"),
        ("<ol><li>One<ul><li>Inner</li></ul></li><li>Two</li></ol>", "- One\n- Inner\n- Two"),
        ("First<br>second<br/>third<BR />fourth", "First\nsecond\nthird\nfourth"),
        ("<p>a<br>b", "a\nb"),
        ("<h2>Work</h2>Acme", "Work\nAcme"),
        (
            "<table><tr><td>Python</td><td>5 years</td></tr><tr><td>Go</td><td>1</td></tr></table>",
            "Python | 5 years\nGo | 1",
        ),
        (
            'See <a href="https://acme.test/x?a=1&amp;b=2" target="_blank">the paper</a>.',
            "See the paper (https://acme.test/x?a=1&b=2).",
        ),
        ('<a href="https://acme.test">https://acme.test</a>', "https://acme.test"),
        ('<a href="https://acme.test/"><b>acme.test</b></a>', "acme.test"),
        ('<a href="mailto:a@b.test">Write</a> <a href="javascript:alert(1)">x</a>', "Write x"),
        ("Before<script>let a = '<p>hidden</p>'</script><style>p{}</style><!-- note --> after<br>", "Before after"),
        ("R&amp;D &lt; 5 &euro; &#8364; &#x20AC; caf&eacute;", "R&D < 5 € € € café"),
        ("&lt;p&gt;Escaped &lt;b&gt;twice&lt;/b&gt;&lt;/p&gt;", "Escaped twice"),
        ("<p>AT&amp;T &amp; R&D, ?a=1&copy=2</p>", "AT&T & R&D, ?a=1&copy=2"),
        ("<p>C++ < 5 years, List<String>, 3 > 2</p>", "C++ < 5 years, List<String>, 3 > 2"),
        ("<div class='x'><span style='a:b'>One</span></div><div>Two</div>", "One\nTwo"),
        ("<p>Non&nbsp;breaking</p>", "Non breaking"),
    ],
)  # fmt: skip
def test_html_becomes_plain_text(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Senior Engineer**, *Acme* and ***more***", "Senior Engineer, Acme and more"),
        ("__Senior Engineer__ at _Acme Corporation_", "Senior Engineer at Acme Corporation"),
        ("## Work ##\n\n# Education", "Work\n\nEducation"),
        ("* One\n* **Two** words\n+ Three\n- Four\n1. Five", "- One\n- Two words\n- Three\n- Four\n1. Five"),
        ("[the paper](https://acme.test/x) and [mail](mailto:a@b.test)", "the paper (https://acme.test/x) and mail"),
        ("[wiki](https://acme.test/a_(b)) <https://acme.test/y>", "wiki (https://acme.test/a_(b)) https://acme.test/y"),
        ("![my face](https://acme.test/me.png) Hello", "my face Hello"),
        ("Uses `pytest -x` and ``a`b``", "Uses pytest -x and a`b"),
        ("```python\nprint(1)\n```\nafter", "print(1)\nafter"),
        ("> Quoted words\n> go on", "Quoted words\ngo on"),
        ("One\n---\nTwo\n* * *\nThree\n===", "One\nTwo\nThree"),
        ("~~old~~ new", "old new"),
        (r"5 \* 3 and snake\_case", "5 * 3 and snake_case"),
    ],
)
def test_markdown_becomes_plain_text(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "C++ < 5 years",
        "5 * 3 = 15, 2 * 2 * 2, 2*3*4 and a**b**c",
        "snake_case_name, _private, __init__ and __slots__, MAX_SIZE_MB",
        "C#, F#, #1 in sales, issue #7",
        "List<String>, Map<K, V>, vector<int>, Promise<void>",
        "knows the <b> and <canvas> elements, <video> too",
        "p < 0.05 and n > 30; <3; a <b and c> d",
        "*args, **kwargs",
        "R&D, AT&T, https://acme.test/?a=1&copy=2&lt=3",
        r"C:\news\new, D:\new",
        r"C:\_work\new, \d+ and LaTeX \frac",
        "- a dash list\n- stays\n  with its second line",
        "2019. A good year\n1986 - 1990",
        "Grade: 9/10 [first] (second), array[0](x)",
        "~5 years, ~/.bashrc, a ~ b",
        "it's 5 > 4\nand -- dashes --",
        "* footnote: rated 5* hotel, 4* food",
        "| Python | 5 years |",
        "data: we keep it; metadata:image/png is a label",
        "Größe 5′ 10″ — “quoted” … 東京",
        "",
    ],
)
def test_what_only_looks_like_markup_is_not_harmed(text):
    kept = text.replace("* footnote", "- footnote")  # a list, to whoever reads it

    assert plain(text) == kept


def test_line_ends_that_were_escaped_twice_are_line_ends():
    assert plain(r"Summary:\nBuilds\r\n\n- One\n- Two") == "Summary:\nBuilds\n\n- One\n- Two"


def test_text_without_markup_keeps_its_lines():
    assert plain("One\r\n\r\n  Two\u00a0x  \rThree\n") == "One\n\n  Two x\nThree"


@given(st.text(alphabet=st.sampled_from('<>/&;abp*_#`[]()!\n -+"=:'), max_size=200))
def test_no_text_makes_it_raise_and_plain_text_stays_as_it_is_long(text):
    assert len(plain(text)) <= 4 * len(text) + 1


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<a ",
        "<a href='",
        "*",
        "**a ",
        "_a ",
        "[",
        "[a](",
        "`",
        "&",
        "<b>",
        "![",
        "<p><",
        "data:",
        "~~a",
        "(",
        "<!--",
    ],
)
def test_no_repetition_takes_long(piece):
    text = piece * (100_000 // len(piece))
    started = time.process_time()

    plain(text)
    plain("<p>x</p>" + text)

    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;base64,{PICTURE}",
        f"DATA:IMAGE/PNG;BASE64,{PICTURE}",
        f"data:image/jpeg;name=me.jpg;base64,{WRAPPED}",
        f"data:;base64,{PICTURE}",
        f"data:application/pdf;base64,{PICTURE}",
        PICTURE,
        WRAPPED,
        PICTURE.replace("+", "-").replace("/", "_").rstrip("="),
        random.Random(7).randbytes(2_000).hex(),
        "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0 L9 9'/></svg>",
        "data:image/svg+xml,%3Csvg%20xmlns%3D%22http%3A%2F%2Fwww.w3.org%22%3E%3C%2Fsvg%3E",
    ],
    ids=[
        *("data", "upper case", "wrapped data", "no type", "pdf", "base64", "wrapped base64", "url-safe", "hex", "svg"),
        "encoded svg",
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "Before {} after",
        "Before\n{}\nafter",
        '<p>Before <img src="{}" alt=""> after</p>',
        "Before ![me]({}) after",
    ],
)
def test_no_picture_is_left_in_a_text(text, around):
    read = plain(around.format(text))

    assert len(read) < 40, read
    if "Before" in around:
        assert read.startswith("Before")
        assert read.endswith("after")


@pytest.mark.parametrize(
    "text",
    [
        "https://acme.test/" + "path/" * 60,
        "Donaudampfschifffahrtsgesellschaftskapitän " * 10,
        "x" * 500,
        "A" * 300 + " " + "1" * 300,
        "data: we analysed data:image pipelines, data:text",
        "sha256 " + "ab12" * 16,
        "word/other/word/" * 5,
    ],
)
def test_long_words_are_no_picture(text):
    assert text_without_pictures(text) == text


def test_no_picture_is_kept_wherever_it_stands():
    content: dict[str, Any] = {
        "basics": {
            "name": "Noor",
            "image": "https://acme.test/me.jpg",
            "photo": {"url": "https://acme.test/me", "visible": True, "filters": {"size": 128}},
            "profilePicture": PICTURE,
            "avatar_url": "me.png",
            "summary": f"Hello data:image/png;base64,{PICTURE} there",
            "deep": [{"thumbnail": "x.png", "more": [{"blob": PICTURE, "fact": "kept"}]}],
        },
        "work": [{"name": "Acme", "logo": "https://acme.test/logo.svg", "highlights": [PICTURE, "Led"]}],
        "skills": [{"name": "Image processing", "icon": "devicon:python", "keywords": ["photo editing"]}],
        "attachment": {"type": "Buffer", "data": list(random.Random(7).randbytes(300))},
        "raw_text": f"Text\n{WRAPPED}\nmore text",
    }

    stored, read = without_pictures(content), profile_text(content)
    first_bytes = ", ".join(map(str, content["attachment"]["data"][:3]))

    for text in (json.dumps(stored), read):
        assert PICTURE[:40] not in text
        assert PICTURE[-40:] not in text
        for left in ("me.jpg", "me.png", "logo.svg", "x.png", "devicon", "acme.test/me", first_bytes):
            assert left not in text
        for fact in ("Hello", "there", "kept", "Led", "Image processing", "photo editing", "more text"):
            assert fact in text


def test_what_has_no_picture_is_stored_as_it_is():
    content = {
        "basics": {"name": "Noor", "image": "", "x": None},
        "photos": ["Taken in Paris, 2019"],
        "n": [1, 2.5, True],
    }

    assert without_pictures(content) == {
        "basics": {"name": "Noor", "x": None},
        "photos": ["Taken in Paris, 2019"],
        "n": [1, 2.5, True],
    }
