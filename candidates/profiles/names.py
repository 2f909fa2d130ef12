"""
Names of people: when two spellings may be one person's.

Typography, letter case, accents, the order of words, titles and degrees do not count: “Doe, Jane” and “Dr. Jané Doe,
PhD” are one name. Words that many names share (“de la”, “van”) and initials are compared, but speak for nobody.
"""

from __future__ import annotations

import re
import unicodedata

_LETTERS = str.maketrans(
    {"ø": "o", "œ": "oe", "æ": "ae", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ʻ": "'", "’": "'", "ʼ": "'"}
)
_APOSTROPHES = re.compile(r"['`´‘’]")
_ACCENTS = re.compile("[\u0300-\u036f]")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_ASCII = {code: "" if chr(code) in "'`" else " " for code in range(128) if not chr(code).isalnum()}
_INNER_DOT = re.compile(r"(?<=\w)\.(?=\w{1,2}\b)")  # Ph.D., J.K.
_TITLES = """
    dr prof professor doctor doc med ing dipl mag mr mrs ms miss mx sir dame herr frau mme mlle sr sra srta jr
    phd dphil mba msc bsc meng beng mphil llm llb cpa cfa pmp esq ii iii iv
"""
_PARTICLES = """
    de la del della delle di da das do dos du des le les el los las al van von der den ten ter zu zur af av
    bin ibn bint binti abu thi y e und and san st saint
"""
_TITLE_WORDS, _PARTICLE_WORDS = frozenset(_TITLES.split()), frozenset(_PARTICLES.split())


def names_agree(one: str, other: str) -> bool:
    """Whether two names are equal or share two words that can tell people apart."""
    return _agree(one, other) or _agree(_spelt_out(one), _spelt_out(other))


def one_name_holds_the_other(one: str, other: str) -> bool:
    """Whether one name has all words of the other: “Jane” and “Jane B. Doe” may be one person."""
    words, other_words = set(name_words(one)), set(name_words(other))
    if not words or not other_words:
        return one.split() == other.split()
    return words <= other_words or other_words <= words


def name_words(name: str) -> list[str]:
    """The words of a name, folded, without titles unless there is nothing else."""
    words = folded(name).split()
    return [word for word in words if word not in _TITLE_WORDS] or words


def folded(text: str) -> str:
    """`text` in one spelling: letters and digits of every script, in lower case, without accents; else spaces."""
    if text.isascii():
        return _INNER_DOT.sub("", text.lower()).translate(_ASCII)
    text = _INNER_DOT.sub("", unicodedata.normalize("NFKD", text).casefold().translate(_LETTERS))
    text = unicodedata.normalize("NFKD", _ACCENTS.sub("", _APOSTROPHES.sub("", text)))
    return text.translate(_ASCII) if text.isascii() else "".join(map(_kept, text))


def _agree(one: str, other: str) -> bool:
    words, other_words = name_words(one), name_words(other)
    if not words or not other_words:
        return one.split() == other.split()
    if sorted(words) == sorted(other_words) or "".join(words) == "".join(other_words):
        return True
    if _numbers(words) != _numbers(other_words):  # “Candidate 7” is not “Candidate 8”
        return False
    return sum(_tells_people_apart(word) for word in set(words) & set(other_words)) >= 2


def _spelt_out(name: str) -> str:
    """Müller as Mueller, as people write it where keyboards lack the letter."""
    return unicodedata.normalize("NFC", name).casefold().translate(_UMLAUTS)


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":  # soft hyphens, zero-width joiners, marks of direction
        return ""
    return character if category[0] in "LMN" else " "


def _tells_people_apart(word: str) -> bool:
    is_initial = len(word) == 1 and word.upper() != word  # of a script with capitals; 李 is a whole word
    return not is_initial and word not in _PARTICLE_WORDS


def _numbers(words: list[str]) -> set[str]:
    return {word for word in words if any(character.isdigit() for character in word)}
