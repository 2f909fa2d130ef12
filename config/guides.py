"""Documents of docs/ that explain the product to its users, as pages of the application. Their text stands there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from django.conf import settings
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.token import Token

GUIDES = {
    "candidate-checks": "guide-checks",
    "byok": "guide-byok",
    "api": "guide-api",
    "exports": "guide-exports",
}  # file of docs/ → the name of its URL
TABLE = ('<div class="table-scroll" tabindex="0" role="region" aria-label="{}"><table class="data">', "</table></div>")


@lru_cache
def guide(name: str, slug: str) -> tuple[str, SafeString]:
    """Title and body of docs/`name`.md, for the organization `slug`. Cached: documents change with the version only."""
    title, _, text = (settings.BASE_DIR / "docs" / f"{name}.md").read_text().removeprefix("# ").partition("\n")
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    _name_parts(tokens, title)
    for token in tokens:
        token.children = _with_pages(token.children, slug)
    for rule, render in (
        ("table_open", lambda self, tokens, at, *_: format_html(TABLE[0], tokens[at].meta["label"])),
        ("table_close", lambda *_: TABLE[1]),
    ):
        markdown.add_render_rule(rule, render)
    html = markdown.renderer.render(tokens, markdown.options, {})
    return title, mark_safe(html)  # noqa: S308  # a document of ours, whose HTML would be escaped


def _name_parts(tokens: Sequence[Token], title: str) -> None:
    """Headings can be linked to, tables bear the name of theirs, and on a phone each value that of its column."""
    heading, columns, column = title, list[str](), 0
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            heading = following.content
            token.attrSet("id", slugify(heading))
        elif token.type == "table_open":
            token.meta["label"], columns = heading, []
        elif token.type == "th_open":
            columns.append(following.content)
        elif token.type == "tr_open":
            column = 0
        elif token.type == "td_open":
            if column:  # the first one says what the line is about
                token.attrSet("data-th", columns[column])
            column += 1


def _with_pages(tokens: list[Token] | None, slug: str) -> list[Token] | None:
    """Links to documents lead to their pages; those that are none go, and their words stay."""
    if tokens is None:
        return None
    kept, is_dropping = [], False
    for token in tokens:
        target, _, anchor = (
            str(token.attrGet("href") or "").partition("#") if token.type == "link_open" else ("", "", "")
        )
        if target.endswith(".md"):
            page = GUIDES.get(target.removesuffix(".md"))
            is_dropping = page is None
            if page:
                token.attrSet("href", f"{reverse(page, args=[slug])}{'#' * bool(anchor)}{anchor}")
        if not (is_dropping and token.type in ("link_open", "link_close")):
            kept.append(token)
        if token.type == "link_close":
            is_dropping = False
    return kept
