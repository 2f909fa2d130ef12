"""A quote counts whatever its typography, and never if the profile does not say it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.evidence import Evidence
from candidates.models import Requirement
from candidates.prompts.check import parse_verdicts
from candidates.prompts.foreign_text import neutralised

PROFILE = """\
Jane Doe
Senior Backend Engineer
Berlin, DE

Summary
She said “it’s done” — and didn’t use Kubernetes. Cut latency by 12.5 % for 1,000 users.
Builds <b>Django</b> services &amp; APIs with R&amp;D – see [her talk](https://talk.example/x).
Knows\u00a0soft\u00adware **architecture** of e\ufb03cient full\u2011stack systems and C++ or C#.
No Java, Python or Go in production

Work
- Engineer, Acme (2018-03 to now, Berlin)
  Built the billing ledger
  * Django
  * Django REST framework
  * PostgreSQL

Skills
- Databases: MySQL, Redis, Object storage
- Kotlin

Languages
- Deutsch (fließend)

Resume text
数据库管理和Python开发经验丰富
ทำงานกับฐานข้อมูล
√ passed − minus 5 °C, −7 °C
"""


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence(PROFILE)


@pytest.mark.parametrize(
    "quote",
    [
        "She said \"it's done\" - and didn't use Kubernetes.",
        "“She said ‘it’s done’ – and didn’t use Kubernetes…”",
        "She said “it’s done” — and didn’t use Kubernetes",
        "Cut latency by 12.5% for 1,000 users",
        "…latency by 12.5 % for 1,000 users.",
        "Builds Django services & APIs with R&D",
        "Builds **Django** services &amp; APIs",
        "<p>Builds <em>Django</em> services</p>",
        "see her talk.",
        "Knows software architecture",
        "knows SOFTWARE   architecture of efficient full-stack systems",
        "of efficient full stack systems",
        "efficient systems and C++ or C#"[10:],
        "• Built the billing ledger",
        "- Django\n- Django REST framework",
        "Django\nPostgreSQL",
        "Django\n\nMySQL",
        "`Built the billing ledger`",
        "_Built_ the ~billing~ ledger;",
        "Engineer, Acme (2018-03 to now, Berlin)",
        "Built the bil\u200bling ledger",
        "Ｂｕｉｌｔ ｔｈｅ ｂｉｌｌｉｎｇ ｌｅｄｇｅｒ",
        "deutsch (fliessend)",
        "- Databases: MySQL, Redis",
        "数据库管理和",
        "Python开发经验丰富。",
        "ทำงานกับฐานข้อมูล",
    ],
)
def test_typography_changes_nothing(evidence, quote):
    assert evidence.proves(quote)


@pytest.mark.parametrize(
    "quote",
    ["Django", "PostgreSQL", "* PostgreSQL.", "Kotlin", "Redis", "Object storage", "MySQL", "Jane Doe", "Deutsch",
     "Skills", "Work", "2018-03", "2018-03 to now", "2018", "Engineer, Acme"],
)  # fmt: skip
def test_a_whole_list_item_heading_or_date_is_enough(evidence, quote):
    assert evidence.proves(quote)


@pytest.mark.parametrize(
    "quote",
    [
        "and did use Kubernetes",
        "She said it's done and use Kubernetes",
        "Cut latency by 125 % for 1,000 users",
        "Cut latency by 12.5 for 1,000 users",
        "latency by 2.5 % for",
        "latency by 12.5 % for 1,000 user",
        "Built a billing ledger",
        "Built billing ledger",
        "Built the … ledger",
        "the billing ledgers",
        "Java, Python or Rust",
        "systems and C or C#",
        "passed − minus 7 °C",
        "Builds Ruby services",
        "Django\nRust",
        "Redis Object",
        "Jane",
        "services",
        "Kubernetes",
        "the billing",
        "Python",
        "Go",
        "数据",
        "开发经验不足",
        "",
        "…",
        '""',
        "\n\n",
        "<b></b>",
        "&nbsp;",
        "x" * 20_000,
    ],
)
def test_what_the_profile_does_not_say_is_no_evidence(evidence, quote):
    assert not evidence.proves(quote)


CONTRACTIONS = "hasn’t haven't hadn't won't wouldn't couldn’t shouldn't aren't weren't ain't".split()  # noqa: SIM905


@pytest.mark.parametrize(
    ("profile", "quote"),
    [
        ("served 10⁵ requests daily", "served 105 requests daily"),
        ("has 3½ years of it", "has 31 2 years of it"),
        ("has 15 years of Go", "has 5 years of Go"),
        ("has <b>not</b> used Django", "has used Django"),
        ("has ~~not~~ used Django", "has used Django"),
        ("has [not](x) used Django", "has used Django"),
        ("has n\u00adot used Django", "has used Django"),
        ("latency under <5 ms always", "latency under >5 ms always"),
        ("keeps it at −5 °C always", "keeps it at 5 °C always"),
        ("5+ years of Django", "5 years of Django"),
        ("❌ knows Django well", "✅ knows Django well ❌"),
        ("works part of the time", "works part-time of the"),
        ("can't lead a team", "can lead a team"),
        ("Has not used Django daily", "used Django daily"),
        ("Has never really used Django daily.", "used Django daily"),
        ("Didn’t use Django daily", "use Django daily"),
        ("No Java, Python or Go", "Java, Python or Go"),
        *((f"She {verb} used Django daily", "used Django daily") for verb in CONTRACTIONS),
        ("Has not used Django daily. Likes tea.", "used Django daily. Likes tea."),
        ("Has not\nused Django daily", "used Django daily"),
        ("Has not used\nDjango daily at work", "used Django daily at work"),
        ("Production Kubernetes experience: none", "Production Kubernetes experience"),
        ("Production Kubernetes experience – not yet: no", "Production Kubernetes experience – not yet"),
        ("Did you use Django? No.", "Did you use Django"),
        ("N’a jamais travaillé avec Django", "travaillé avec Django"),
        ("Nunca ha trabajado con Django", "trabajado con Django"),
        ("Har inte arbetat med Django", "arbetat med Django"),
        ("Не работал с базами данных", "работал с базами данных"),
        ("没有使用过数据库管理系统", "使用过数据库管理系统"),
        ("لم يعمل مع قواعد البيانات", "يعمل مع قواعد البيانات"),
        ("a 5‰ error rate here", "5 error rate here"),
        ("Hat nicht mit Django gearbeitet", "mit Django gearbeitet"),
        ("a <b and not c> d here", "a d here"),
    ],
)
def test_folding_drops_no_word_and_no_number(profile, quote):
    assert not Evidence(profile).proves(quote)


@pytest.mark.parametrize(
    ("profile", "quote"),
    [
        ("Never late. Builds Django services daily", "Builds Django services"),
        ("Not a manager, but builds Django services", "builds Django services"),
        ("Has not only used Django daily", "used Django daily"),
        ("Had not used Django daily\nNow used Django daily", "used Django daily"),
        ("Has not used Django daily", "Has not used Django daily"),
        ("Speaks French. Likes tea.", "Speaks French."),
        ("Never used Django daily before, now used Django daily", "used Django daily"),
        ("Visa needed: no\nBuilds Django services", "Builds Django services"),
        ("Visa needed: no\n- builds Django services", "builds Django services"),
        ("Builds Django services, not websites", "Builds Django services"),
        ("Builds Django services\nNone", "Builds Django services"),
    ],
)
def test_a_denial_counts_only_where_it_belongs(profile, quote):
    assert Evidence(profile).proves(quote)


@pytest.mark.parametrize(
    ("profile", "quote"),
    [
        ("技能：Django、PostgreSQL、Redis", "PostgreSQL"),
        ("精通编程。熟悉 Django", "熟悉 Django"),
        ("المهارات: بايثون، جانغو، لينكس", "جانغو"),
        ("Resume\nPython      Django REST", "Django REST"),
        ("Resume\nPython\tGo\tDjango", "Go"),
        ("Django & Flask", "Flask"),
        ("يعمل محمـــد مع البيانات", "يعمل محمد مع البيانات"),
    ],
)
def test_lists_of_other_scripts_and_columns_have_items_too(profile, quote):
    assert Evidence(profile).proves(quote)


def test_a_quote_of_a_hyphenated_line_break_counts():
    assert Evidence("designs distrib-\nuted systems daily").proves("designs distributed systems")
    assert Evidence("a full-\nstack engineer here").proves("a full-stack engineer")


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_text_is_answered(profile, quote):
    Evidence(profile).proves(quote)


@given(st.lists(st.sampled_from("alpha beta not 5 12.5 C++ Straße ligne".split()), min_size=3, max_size=8))  # noqa: SIM905
def test_every_row_of_three_words_stands_where_it_was_taken_from(words):
    text = " ".join(words)

    assert Evidence(f"First. {text}; last").proves(f"«{text}…»")


def test_looking_is_quick():
    started = time.process_time()
    Evidence("not used Django daily " * 4_500).proves("used Django daily")
    Evidence("a b " * 22_500).proves("a b " * 2_000)
    for text in ("<b " * 30_000, "[" * 90_000, "[a](" * 20_000, "a-" * 45_000, "5." * 45_000, "& " * 45_000):
        Evidence(text).proves(text[:9_000])

    assert time.process_time() - started < 10


SPELLINGS = """
</profile> <⁄profile> <∕profile> <／profile> ‹／ｐｒｏｆｉｌｅ› </рrоfile> </pro\u200bfile> &lt;/profile&gt;
&amp;lt;/profile&gt; &#60;/profile> &#x3C;&#47;profile> <\u2060/\u00adprofile> 《/profile》 ❮/profile❯
⟨/profile⟩ </prófile> </p-r-o-f-i-l-e> </𝐩𝐫𝐨𝐟𝐢𝐥𝐞> <\\profile> ≪/profile≫ &ltprofile>
</job&nbsp;description> </_JOB_DESCRIPTION_> <requirements/>
"""


@pytest.mark.parametrize("spelling", SPELLINGS.split())
def test_nothing_reads_as_one_of_our_tags(spelling):
    bracket = neutralised(f"a {spelling} b")[2]

    assert bracket == "["


@pytest.mark.parametrize(
    "text", ["a < b", "<b>profile</b>", "I <3 profiles", "<5 profiles", "profile > 3", "&lt;b&gt;"]
)
def test_other_brackets_stay(text):
    assert neutralised(text) == text


def test_a_quote_of_a_neutralised_line_counts_in_either_spelling():
    for quote in ("wrote [profile> parsers", "wrote <profile> parsers"):
        (row,) = parse_verdicts(
            f'[{{"id": 1, "verdict": "met", "quote": "{quote}"}}]',
            [Requirement(pk=1, text="Parsers")],
            "wrote <profile> parsers",
        )
        assert row.verdict == "met"
