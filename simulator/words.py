"""Words as the simulator compares them: without endings, without the words that every text has."""

from __future__ import annotations

import re
from functools import lru_cache

WORD = re.compile(r"[^\W_][\w+#.'’]*")
WORD_OR_ALTERNATIVE = re.compile(rf"{WORD.pattern}|/")
YEARS = re.compile(r"(\d+)(?:\.\d)?\s*\+?\s*(?:(?:-|–|to)\s*\d{1,2}\s*\+?\s*)?(?:[Yy]ears?|YEARS?|[Yy]rs?)\b")
MOST_YEARS = 60
NUMBER = re.compile(r"\d[\d.+]*")

ENDINGS = (
    "isations", "izations", "isation", "ization", "ements", "ments", "ement", "ment", "ations", "ation",
    "ators", "ator", "ings", "ing", "ions", "ion", "ers", "ors", "ies", "ied", "ely", "ed", "er", "or", "es",
    "ly", "al", "s", "e", "y", "i",
)  # fmt: skip
SHORTEST_STEM = 4
SAME_WORDS = {
    "js": "javascript", "ts": "typescript", "k8s": "kubernetes", "postgres": "postgresql", "golang": "go",
    "reactjs": "react", "nodejs": "node", "node.js": "node", "react.js": "react", "vue.js": "vue",
    "vuejs": "vue",
    "bsc": "bachelor", "beng": "bachelor", "btech": "bachelor", "baccalaureate": "bachelor",
    "msc": "master", "mba": "master", "mtech": "master", "phd": "doctorate", "doctoral": "doctorate",
    "analyses": "analysis", "analyst": "analysis", "analysts": "analysis", "analytics": "analysis",
    "analytical": "analysis", "analyze": "analysis", "analyzing": "analysis", "led": "lead", "leads": "lead",
    "leadership": "lead", "leader": "lead", "taught": "teach", "wrote": "write", "written": "write",
}  # fmt: skip
COMMON = frozenset(
    """a about above across after all also an and any are as at be been being both but by can could day
    days do does each either etc for from full-time had has have he her high his how i if in
    including into is it its may more most must need needs needed nice no not of on one or other our
    over own per plus preferred preferably she should so some such than that the their them then
    these they this those through to under up us use used using very want was we well were what when
    where which while who will with within without work working would year years you your

    ability able advanced background basic best bonus comfortable degree demonstrated desirable
    desired essential excellent expert expertise experience experienced familiar familiarity good
    great hands-on hands in-depth ideal ideally knowledge least mandatory min minimum operating
    possess practical proficiency proficient profile proven qualification qualifications related
    relevant require required requirement requirements requires skill skilled skills solid strong
    thorough track record understanding""".split()  # noqa: SIM905
)


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """What a word shares with its relatives ("manag" for managed and management); "" for a common word."""
    word = word.lower().replace("’", "'").removesuffix("'s").strip(".'")
    word = SAME_WORDS.get(word) or SAME_WORDS.get(word.replace(".", ""), word.replace(".", ""))
    if word in COMMON or NUMBER.fullmatch(word) or (len(word) == 1 and word not in "cr"):
        return ""
    shortened = True
    while shortened:
        shortened = False
        for ending in ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
                word, shortened = word[: -len(ending)], True
                break
    return word


@lru_cache(maxsize=4_096)
def significant_words(text: str) -> tuple[tuple[frozenset[str], str], ...]:
    """
    A requirement's telling words: their stems, and the words as written.

    Words around "or" or a slash are alternatives and stand together: "Java or Kotlin" is one.
    """
    groups: dict[frozenset[str], str] = {}
    alternatives: frozenset[str] = frozenset()
    written = ""
    joined = False
    for match in WORD_OR_ALTERNATIVE.finditer(text):
        word = match.group().strip(".'’")
        if word.lower() in ("or", "/"):
            joined = bool(alternatives)
            continue
        stemmed = stem(word)
        if not stemmed:
            alternatives, joined = frozenset(), False
            continue
        if joined:
            groups.pop(alternatives, None)
            alternatives, written = alternatives | {stemmed}, f"{written} or {word}"
        else:
            alternatives, written = frozenset({stemmed}), word
        groups.setdefault(alternatives, written)
        joined = False
    return tuple(groups.items())


@lru_cache(maxsize=1_024)
def years_in(text: str) -> int | None:
    """The largest number of years that a text speaks of."""
    found = (int(years) for years in YEARS.findall(text) if len(years) <= 2)
    return max((years for years in found if years <= MOST_YEARS), default=None)
