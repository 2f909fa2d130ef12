"""
HTML and Markdown as the plain text that a person would read: lists stay lists, links keep their address.

Profiles are prose far more often than mark-up, so only what cannot be prose counts as mark-up: the tags that text
editors write, closed where they must be, and emphasis around words. "C++ < 5 years", "List<String>", "5 * 3" and
"snake_case_name" are text. CommonMark itself would take "__init__", "[0](x)" and backslashes apart.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import nh3

from candidates.profiles.pictures import text_without_pictures

_VOID = frozenset({"br", "hr", "img", "wbr", "meta", "link", "col", "source"})
_OFTEN_UNCLOSED = frozenset({"p", "li", "dt", "dd", "tr", "td", "th"})
_BLOCKS = frozenset(
    """p div section article header footer aside main h1 h2 h3 h4 h5 h6
    ul ol dl dt dd tr table blockquote pre br hr""".split()  # noqa: SIM905
)
_INLINE = frozenset(
    "a abbr b big cite code del em font i ins kbd label mark q s small span strike strong sub sup tt u var".split()  # noqa: SIM905
)
_WITHOUT_CONTENT = frozenset({"script", "style", "svg", "template", "title", "noscript", "iframe", "object"})
_TAGS = (
    _VOID | _OFTEN_UNCLOSED | _BLOCKS | _INLINE | _WITHOUT_CONTENT
    | frozenset({"html", "head", "body", "tbody", "thead", "tfoot", "colgroup", "caption"})
    | frozenset({"figure", "figcaption", "nav", "center", "picture"})
)  # fmt: skip

_TAG = re.compile(
    r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,12})((?:[\s/](?:[^<>\"']|\"[^\"<>]{0,2000}\"|'[^'<>]{0,2000}'){0,500})?)>"
)
_COMMENT = re.compile(r"<!--(?:(?!<!--).){0,20000}?-->|<!doctype[^<>]{0,200}>", re.IGNORECASE | re.DOTALL)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BARE_AMPERSAND = re.compile(rf"&(?!{_ENTITY.pattern[1:]})")
_ANCHOR = re.compile(r'<a href="([^"]*)">(.*?)</a>|</?a>', re.DOTALL)
_BLOCK_EDGE = re.compile(rf"</?(?:{'|'.join(sorted(_BLOCKS))})>")
_EMPTY_BULLETS = re.compile(r"^-\n(?=[^-])", re.MULTILINE)

_LINK = re.compile(
    r"(!?)\[([^\[\]\n]{0,500})\]"
    r"\(((?:https?://|mailto:|tel:|www\.|#|/|\.)(?:[^\s()]|\([^\s()]{0,200}\)){0,2000})(?:[ \t]+\"[^\"\n]{0,200}\")?\)"
)
_PICTURE_LEFT = re.compile(r"!\[([^\[\]\n]{0,500})\]\([^\s()]{0,500}\)")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^\s<>]{1,2000})>")
_CODE = re.compile(r"(?<![`\\])(`{1,2})(?!`)([^\n]{1,300}?)(?<!`)\1(?!`)")
_EMPHASIS = (
    re.compile(r"(?<![\w*\\])(\*{1,3})(?=[^\s*])([^*\n]{1,1000}?)(?<=[^\s*\\])\1(?![\w*])"),
    re.compile(r"(?<![\w_\\])(_{1,3})(?=[^\s_])([^\n_]{1,300}\s[^\n_]{0,700}?)(?<=[^\s_\\])\1(?![\w_])"),
    re.compile(r"(?<![\w~\\])(~~)(?=[^\s~])([^~\n]{1,500}?)(?<=[^\s~])~~(?![\w~])"),
)
_RULE = r"(?:\*[ \t]*){3,100}|(?:-[ \t]*){3,100}|(?:_[ \t]*){3,100}|={3,100}[ \t]*"
_LINES = (
    (re.compile(r"^[ \t]{0,3}(?:```|~~~)[\w+-]{0,20}[ \t]*\n?", re.MULTILINE), ""),
    (re.compile(rf"^[ \t]{{0,3}}(?:{_RULE})(?:\n|\Z)", re.MULTILINE), ""),
    (re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+(\S.*?)(?:[ \t]+#{1,6})?[ \t]*$", re.MULTILINE), r"\1"),
    (re.compile(r"^([ \t]*)[*+][ \t]+(?=\S)", re.MULTILINE), r"\1- "),
    (re.compile(r"^[ \t]{0,3}(?:>[ \t]+)+(?=\S)", re.MULTILINE), ""),
)
_MARKS = re.compile(r"[*_#`~\[\\<]|^[ \t]*[+>=-]", re.MULTILINE)
_ESCAPED_LINE_END = re.compile(r"\\n(?=[A-Z0-9\s\\•*<-]|\Z)")  # escaped twice on its way, and no path of Windows
_LEAST_LINE_ENDS = 3
_NESTED = 3  # ***a*** and emphasis within emphasis
_ESCAPED = re.compile(r"(?<=[\s\w])\\([*_#`~\[\]])(?=[\s\w]|$)|^\\([*_#`~\[\]+-])")


def plain(text: str) -> str:
    """`text` without mark-up, pictures and entities, its lines ended by "\\n" and without white space at their ends."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\\n" in text and "\n" not in text and len(_ESCAPED_LINE_END.findall(text)) >= _LEAST_LINE_ENDS:
        text = text.replace("\\r\\n", "\n").replace("\\n", "\n")
    text = text_without_pictures(text)
    text = _without_markdown(_without_html(text)).replace("\u00a0", " ")
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def _without_html(text: str) -> str:
    if "<" not in text:
        if "&" not in text:
            return text
        if "&lt;" in text:  # mark-up that was escaped once too often
            text = _decoded(text)
    if not (_COMMENT.search(text) or any(map(_markup_in(text), _TAG.finditer(text)))):
        return _decoded(text)
    clean = nh3.clean(
        _parsable(text),
        tags=set(_BLOCKS | _OFTEN_UNCLOSED | {"a"}),
        clean_content_tags=set(_WITHOUT_CONTENT),
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel=None,
    )
    clean = _ANCHOR.sub(lambda found: _linked(found[2] or "", found[1] or ""), clean)
    clean = re.sub(r"<t[dh]>", " | ", re.sub(r"</t[dh]>", "", clean))
    clean = re.sub(r"<li>", "\n- ", re.sub(r"</li>", "\n", clean))
    lines = (line.strip().removeprefix("| ") for line in html.unescape(_BLOCK_EDGE.sub("\n", clean)).split("\n"))
    read = _EMPTY_BULLETS.sub("- ", "\n".join(line for line in lines if line))
    return "\n".join(line for line in read.split("\n") if line != "-")


def _markup_in(text: str) -> Callable[[re.Match[str]], bool]:
    """Tells a tag from what only looks like one: "the <b> element" has no end."""
    tags = [(tag[1], tag[2].lower()) for tag in _TAG.finditer(text)]
    opened, closed = ({name for slash, name in tags if (slash == "/") == ends} for ends in (False, True))
    may_be_open = _OFTEN_UNCLOSED if (opened & closed & _TAGS) or opened & _VOID else frozenset[str]()

    def is_markup(tag: re.Match[str]) -> bool:
        name = tag[2].lower()
        if name not in _TAGS:
            return False
        return name in _VOID or name in may_be_open or name in (opened if tag[1] else closed)

    return is_markup


def _parsable(text: str) -> str:
    """`text` in which every angle bracket and ampersand that is no mark-up is escaped."""
    text = _COMMENT.sub("", text)
    is_markup, pieces, place = _markup_in(text), [], 0
    for tag in _TAG.finditer(text):
        if is_markup(tag):
            is_link = tag[2] in "aA" and not tag[1]
            pieces += [_escaped(text[place : tag.start()]), tag[0] if is_link else f"<{tag[1]}{tag[2].lower()}>"]
            place = tag.end()
    return "".join((*pieces, _escaped(text[place:])))


def _escaped(text: str) -> str:
    return _BARE_AMPERSAND.sub("&amp;", text).replace("<", "&lt;").replace(">", "&gt;")


def _decoded(text: str) -> str:
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


def _linked(text: str, address: str) -> str:
    """A link as text; the address of a web page stands behind it unless it says the same."""
    words = re.sub(r"<[^<>]*>", "", text).strip()
    bare = re.sub(r"^https?://(?:www\.)?|/$", "", html.unescape(address))
    if not address.startswith(("http://", "https://")) or bare == re.sub(
        r"^https?://(?:www\.)?|/$", "", html.unescape(words)
    ):
        return text
    return f"{text} ({address})" if words else address


def _without_markdown(text: str) -> str:
    if not _MARKS.search(text):
        return text
    for pattern, kept in _LINES:
        text = pattern.sub(kept, text)
    text = _LINK.sub(lambda found: found[2] if found[1] else _linked(found[2], found[3]), text)
    text = _AUTOLINK.sub(lambda found: found[1].removeprefix("mailto:"), _PICTURE_LEFT.sub(r"\1", text))
    text = _CODE.sub(r"\2", text)
    for _ in range(_NESTED):
        for emphasis in _EMPHASIS:
            text = emphasis.sub(r"\2", text)
    return _ESCAPED.sub(lambda found: found[1] or found[2], text)
