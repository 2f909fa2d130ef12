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
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

LEAST_WORDS = 3
LONGEST_QUOTE = 10_000  # of which one is looked for
CHARACTERS_IN_A_WORD = 2  # where words are written without spaces between them
DENIAL_WORDS = 2  # right before or behind a quote, in which a "not" must not be left out
FEW_CHARACTERS = 100  # in which that many words stand
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
# Without any of these nothing of the above, and of the below, is in a text. The first is quick.
_MAY_BE_SIGN = re.compile(r"['’ʼ`´\-‐‑−+#\d]")
_SIGN = re.compile(r"['’ʼ`´]|[^\W\d_][-‐‑]|[-−]\d|[\w+]\+|\w#|\d[.,:]\d")
_MARK_UP = re.compile(r"[&<>\[]")
_QUOTED_LINE = re.compile(r"^\s*>+(?=\s)", re.MULTILINE)
_ONLY_LOOK = frozenset("•·●○◦▪▫■□◆◇▶►▸‣⁃∙✓✔☑✅➢➤➔→➡★☆❖❯~|^=`´¨¯¸")

_ITEM_EDGE = re.compile(r"(?<=[.!?])\s|[。؛;()\[\]{}:•●○◦▪■◆►▸‣|]|\s[-–—]\s|^\s*[-–—*+]\s+")
_LIST_EDGE = re.compile(r"[,;/•·|、،؛]|\t|\s{3,}|\s(?:and|or|&|und|oder|et|ou|y|e|o)\s", re.IGNORECASE)
# As folding leaves them: without apostrophes and in small letters, Chinese character by character.
_NEGATIONS = frozenset(
    """no not non never without none neither nor cannot cant dont doesnt didnt isnt arent wasnt werent hasnt havent
    hadnt wont wouldnt couldnt shouldnt mustnt neednt aint kein keine keinen keiner keinem keines nein nicht nichts
    ohne nie niemals weder ne pas sans jamais aucun aucune ni sin nunca ningún sem nem não nao senza niet geen zonder
    nooit inte ikke ikkje aldrig utan uden bez nigdy не нет без никогда değil لا لم لن ليس بدون
    不 没 沒 无 無 未""".split()  # noqa: SIM905
)
_NO_DENIAL = frozenset({"only", "just", "nur", "seulement", "solo", "только", "仅", "僅", "但"})  # "not only"
_ALNUM = re.compile(r"[0-9A-Za-z]")
_SENTENCE_EDGE = re.compile(r"(?<=[.!?;])\s|(?<=[。؛؟])")
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
        self._spoken = [f" {words} " for words in _readings(plain)]
        self._letters: list[str] | None = None
        self._items: dict[str, frozenset[str]] = {}
        self._denials: _Denials | None = None

    def says(self, quote: str) -> bool:
        """Whether the words of `quote` stand in the profile, in one row."""
        return len(quote) <= LONGEST_QUOTE and self._says(_readings(_plain(quote)))

    def proves(self, quote: str) -> bool:
        """Whether `quote` stands in the profile and is enough to back a claim; or each of its lines is."""
        if self._proves(quote):
            return True
        lines = [line for line in quote.splitlines() if folded(line)]
        return 1 < len(lines) <= 20 and all(map(self._proves, lines))

    def _proves(self, quote: str) -> bool:
        if len(quote) > LONGEST_QUOTE:
            return False
        plain = _plain(quote)
        readings = _readings(plain)
        words = readings[0]
        if not self._says(readings) or self._is_denied(words):
            return False
        return _weight(plain) >= LEAST_WORDS or self._is_whole_item(words) or _is_date(words)

    def _says(self, readings: tuple[str, str]) -> bool:
        return any(words and f" {words} " in spoken for spoken, words in zip(self._spoken, readings, strict=True))

    def _is_denied(self, words: str) -> bool:
        if self._denials is None:
            self._denials = _Denials(self._lines)
        return self._denials.deny(words)

    def _is_whole_item(self, words: str) -> bool:
        """Of a line that has their letters: the others are not taken apart."""
        if self._letters is None:
            self._letters = [_letters_of(line) for line in self._lines]
        wanted = _letters_of("".join(char for char in words if not char.isupper()))
        for line, letters in zip(self._lines, self._letters, strict=True):
            if wanted not in letters:
                continue
            if line not in self._items:
                self._items[line] = frozenset(map(_words_of, set(_items_of(line))))
            if words in self._items[line]:
                return True
        return False


class _Denials:
    """Where in a profile sentences begin and lines end."""

    def __init__(self, lines: list[str]) -> None:
        words: list[str] = []
        self._begins, self._ends, place, is_open = [0], [0], 0, False
        for line in lines:
            for number, sentence in enumerate(_SENTENCE_EDGE.split(line)):
                # A line that goes on in small letters is the rest of one that was wrapped.
                if number or not (is_open and line.lstrip()[:1].islower()):
                    self._begins.append(place)
                if spoken := _words_of(sentence):
                    words.append(spoken)
                    place += len(spoken) + 1
            self._ends.append(place)
            is_open = line.rstrip()[-1] not in ".!?;:。؛؟"
        self._row = f" {' '.join(words)} "

    def deny(self, words: str) -> bool:
        """Whether `words` are denied wherever they stand: "has not" + "used Django daily", or right behind: "no"."""
        looked_for = f" {words} "
        place = first = self._row.find(looked_for)
        while place >= 0:
            if not self._denies(place, place + len(looked_for) - 1):
                return False
            place = self._row.find(looked_for, place + 1)
        return first >= 0

    def _denies(self, begin: int, end: int) -> bool:
        sentence = self._begins[bisect_right(self._begins, begin) - 1]
        before = self._row[max(sentence, begin - FEW_CHARACTERS) : begin].split()[-DENIAL_WORDS:]
        if not _NEGATIONS.isdisjoint(before) and before[-1] not in _NO_DENIAL:
            return True
        behind = self._row[end : self._ends[bisect_left(self._ends, end)]].split(maxsplit=DENIAL_WORDS)
        return 0 < len(behind) <= DENIAL_WORDS and _NEGATIONS.issuperset(behind)


def folded(text: str) -> str:
    """The words of `text` in one line, without what is only its look."""
    return _words_of(_plain(text))


def _readings(plain: str) -> tuple[str, str]:
    """The words of a text: a hyphen may part a word, or only the lines it stands on."""
    words = _words_of(plain)
    has_hyphen = "-" in plain or not plain.isascii()
    return words, _words_of(plain, "") if has_hyphen else words


def _words_of(plain: str, hyphen: str = " ") -> str:
    """`hyphen` stands for one inside of a word."""
    text = unicodedata.normalize("NFKC", plain.casefold())
    if not (_MAY_BE_SIGN.search(text) and _SIGN.search(text)):
        return " ".join(text.translate(_WORDS).split())
    text = _IN_A_WORD.sub("", _HYPHEN.sub(hyphen, text))
    # What belongs to a number or word is kept as a capital letter: all others are small by now.
    text = _AFTER_A_WORD.sub(lambda sign: "P" if sign.group() == "+" else "H", text)
    text = _IN_A_NUMBER.sub("D", _MINUS.sub("M", text))
    return " ".join(text.translate(_WORDS).split())


def _letters_of(plain: str) -> str:
    """Letters and digits alone, as folding leaves them: of a part of a text they are a part."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", plain.casefold())))


def _plain(text: str) -> str:
    """`text` without mark-up and invisible characters; lines stay lines."""
    if text.isascii() and not _MARK_UP.search(text):
        return text
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
    if char in "%‰‱" or (kind[0] == "S" and char not in _ONLY_LOOK):
        return f" {char} "
    return " "


def _visible(char: str) -> str:
    is_selector = "\ufe00" <= char <= "\ufe0f" or char in "\u034f\u0640\u115f\u1160\u3164"
    return "" if is_selector or unicodedata.category(char) == "Cf" else char


def _is_written_without_spaces(char: str) -> bool:
    """Chinese, Japanese, Thai, Lao, Tibetan, Burmese and Khmer."""
    return char >= "\u0e00" and (
        char <= "\u109f" or "\u1780" <= char <= "\u17ff" or "\u2e80" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff"
        or char >= "\U00020000"
    )  # fmt: skip


def _weight(plain: str) -> float:
    """How many words there are; where they are not kept apart, how many their characters would make."""
    if plain.isascii():
        return float(sum(_ALNUM.search(piece) is not None for piece in plain.split()))
    weight = 0.0
    for piece in plain.split():
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
