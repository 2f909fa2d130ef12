"""
Whether a quote stands in a profile.

Both are folded by one function, which takes away whatever changes only the look: quotation marks, dashes, bullets,
full stops, HTML, Markdown, entities, white space, invisible characters, ligatures, letter case. What is left are words,
whole and in their order, so that no word, number or "not" can be added, dropped or changed unnoticed.

A claim needs more than a word that stands there by chance: three words in a row, or a whole list item, heading or date;
and none of them right behind a "not" that the quote leaves out.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator

LEAST_WORDS = 3
LONGEST_QUOTE = 10_000  # of which one is looked for
CHARACTERS_IN_A_WORD = 2  # where words are written without spaces between them
DENIAL_WORDS = 2  # right before a quote, in which a "not" must not be left out
LONGEST_ITEM_WORDS = 4  # of an enumeration in running text

_TAG_NAMES = (
    "a|abbr|b|blockquote|br|code|div|em|font|h[1-6]|hr|i|li|mark|ol|p|pre|section|small|span|strong|sub|sup|table|tbody"
    "|td|th|thead|tr|u|ul"
)
_TAG = re.compile(
    rf"<\s*/?\s*({_TAG_NAMES})(?:\s+[\w:-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))*\s*/?\s*>", re.IGNORECASE
)
_INLINE_TAGS = frozenset("a abbr b code em font i mark small span strong sub sup u".split())  # noqa: SIM905
_LINK = re.compile(r"!?\[([^\[\]]{1,500})\]\([^()\s]{1,2000}\)")
_POWER = re.compile(r"(?<=\d)([⁰¹²³⁴-⁹]+)")
_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_IN_A_WORD = re.compile(r"(?<=\w)['’ʼ`´](?=\w)")
_IN_A_NUMBER = re.compile(r"(?<=\d)[.,:](?=\d)")
_MINUS = re.compile(r"(?<!\S)(?<!\d\s)[-−](?=\d)")
_AFTER_A_WORD = re.compile(r"(?<=[\w+])[+](?!\w)|(?<=\w)#(?!\w)")
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-‐‑]\s*(?=[^\W\d_])")
_QUOTED_LINE = re.compile(r"^\s*>+(?=\s)", re.MULTILINE)
_ONLY_LOOK = frozenset("•·●○◦▪▫■□◆◇▶►▸‣⁃∙✓✔☑✅➢➤➔→➡★☆❖❯~|^=`´¨¯¸")

_ITEM_EDGE = re.compile(r"(?<=[.!?])\s|[;()\[\]{}:•●○◦▪■◆►▸‣|]|\s[-–—]\s|^\s*[-–—*+]\s+")
_LIST_EDGE = re.compile(r"[,;/•·|]|\s(?:and|or|und|oder|et|ou|y|e|o)\s", re.IGNORECASE)
_NEGATIONS = frozenset(
    """no not non never without none neither nor cannot cant dont doesnt didnt isnt wasnt kein keine keinen nicht ohne
    nie ne pas sans ni sin sem senza nao niet geen zonder""".split()  # noqa: SIM905
)
_NO_DENIAL = frozenset({"only", "just", "nur"})  # "not only"
_SENTENCE_EDGE = re.compile(r"(?<=[.!?;])\s")
_MONTHS = frozenset(
    """jan feb mar mär mrz apr may mai mag jun giu jul lug aug ago sep set oct okt ott nov dec dez
    dic""".split()  # noqa: SIM905
)
_BETWEEN_DATES = frozenset("to until till bis now present today heute since seit from".split())  # noqa: SIM905
_YEAR = re.compile(r"(?:19|20)\d\d")


class Evidence:
    """A profile, ready to be searched."""

    def __init__(self, profile: str) -> None:
        plain = _plain(profile)
        self._lines = [line for line in plain.split("\n") if line.strip()]
        # A hyphen may part a word, or only the lines it stands on.
        self._spoken = [_words_of(plain, hyphen) for hyphen in (" ", "")]
        self._items: frozenset[str] | None = None
        self._sentences: list[str] | None = None

    def says(self, quote: str) -> bool:
        """Whether the words of `quote` stand in the profile, in one row."""
        if len(quote) > LONGEST_QUOTE:
            return False
        return any(
            words and f" {words} " in f" {spoken} "
            for spoken, words in zip(self._spoken, (folded(quote, " "), folded(quote, "")), strict=True)
        )

    def proves(self, quote: str) -> bool:
        """Whether `quote` stands in the profile and is enough to back a claim; or each of its lines is."""
        if self._proves(quote):
            return True
        lines = [line for line in quote.splitlines() if folded(line)]
        return 1 < len(lines) <= 20 and all(map(self._proves, lines))

    def _proves(self, quote: str) -> bool:
        words = folded(quote)
        if not self.says(quote) or self._is_denied(words):
            return False
        return _weight(quote) >= LEAST_WORDS or words in self._whole_items() or _is_date(words)

    def _is_denied(self, words: str) -> bool:
        """Whether every sentence with these words denies them right before: "has not" + "used Django daily"."""
        if self._sentences is None:
            self._sentences = [_words_of(each) for line in self._lines for each in _SENTENCE_EDGE.split(line)]
        before = [
            sentence[: place + 1].split()[-DENIAL_WORDS:]
            for sentence in (f" {each} " for each in self._sentences)
            if (place := sentence.find(f" {words} ")) >= 0
        ]
        return bool(before) and all(_NEGATIONS & set(few) and few[-1] not in _NO_DENIAL for few in before)

    def _whole_items(self) -> frozenset[str]:
        if self._items is None:
            self._items = frozenset(_words_of(item) for line in self._lines for item in _items_of(line))
        return self._items


def folded(text: str, hyphen: str = " ") -> str:
    """The words of `text` in one line, without what is only its look. `hyphen` stands for one inside of a word."""
    return _words_of(_plain(text), hyphen)


def _words_of(plain: str, hyphen: str = " ") -> str:
    text = unicodedata.normalize("NFKC", plain.casefold())
    text = _IN_A_WORD.sub("", _HYPHEN.sub(hyphen, text))
    # What belongs to a number or word is kept as a capital letter: all others are small by now.
    text = _AFTER_A_WORD.sub(lambda sign: "P" if sign.group() == "+" else "H", text)
    text = _IN_A_NUMBER.sub("D", _MINUS.sub("M", text))
    return " ".join(text.translate(_WORDS).split())


def _plain(text: str) -> str:
    """`text` without mark-up and invisible characters; lines stay lines."""
    text = html.unescape(html.unescape(text))
    text = text.translate(_VISIBLE)
    text = _TAG.sub(lambda tag: "" if tag.group(1).lower() in _INLINE_TAGS else "\n", text)
    text = _LINK.sub(r"\1", _QUOTED_LINE.sub("", text))
    text = _FRACTION.sub(" ", _POWER.sub(r" \1", text))
    return unicodedata.normalize("NFKC", text)


def _in_words(char: str) -> str:
    """A character as it counts: itself, a space for what is only look, apart from others where it is a word alone."""
    kind = unicodedata.category(char)
    if kind[0] in "LNM":
        return f" {char} " if _is_written_without_spaces(char) else char
    if char == "%" or (kind[0] == "S" and char not in _ONLY_LOOK):
        return f" {char} "
    return " "


def _visible(char: str) -> str:
    is_selector = "\ufe00" <= char <= "\ufe0f" or char in "\u034f\u115f\u1160\u3164"
    return "" if is_selector or unicodedata.category(char) == "Cf" else char


def _is_written_without_spaces(char: str) -> bool:
    """Chinese, Japanese, Thai, Lao, Tibetan, Burmese and Khmer."""
    return char >= "\u0e00" and (
        char <= "\u109f" or "\u1780" <= char <= "\u17ff" or "\u2e80" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff"
        or char >= "\U00020000"
    )  # fmt: skip


def _weight(quote: str) -> float:
    """How many words a quote has; where they are not kept apart, how many its characters would make."""
    weight = 0.0
    for piece in _plain(quote).split():
        unspaced = sum(map(_is_written_without_spaces, piece))
        weight += unspaced / CHARACTERS_IN_A_WORD
        weight += any(char.isalnum() and not _is_written_without_spaces(char) for char in piece)
    return weight


def _items_of(line: str) -> Iterator[str]:
    """A line, its sentences and parts between brackets, dashes and colons, and what it enumerates; of a denial none."""
    yield line
    if _NEGATIONS & set(_words_of(line).split()):
        return
    for part in _ITEM_EDGE.split(line):
        yield part
        listed = [item for item in _LIST_EDGE.split(part) if item.strip()]
        if len(listed) > 1 and all(_weight(item) <= LONGEST_ITEM_WORDS for item in listed):
            yield from listed


def _is_date(words: str) -> bool:
    """A year, or more of a date or span: "2019D05", "march 2019 to now"."""
    parts = words.split()
    return any(_YEAR.match(part) for part in parts) and all(
        part[0].isdigit() or part in _BETWEEN_DATES or (part.isalpha() and part[:3] in _MONTHS and len(part) <= 9)
        for part in parts
    )


class _Table(dict[int, str]):
    """For `str.translate`: what becomes of a character is found out once."""

    def __init__(self, replacement: Callable[[str], str]) -> None:
        super().__init__()
        self._replacement = replacement

    def __missing__(self, code: int) -> str:
        self[code] = replaced = self._replacement(chr(code))
        return replaced


_VISIBLE, _WORDS = _Table(_visible), _Table(_in_words)
