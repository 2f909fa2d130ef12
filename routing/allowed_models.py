"""Lists of allowed models: “provider” or “provider/model”, of a rule and of a token. An empty one allows everything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from providers.catalog import PROVIDERS

MOST_ENTRIES = 100
MOST_NAMED = 5  # of what a list leaves out
MOST_OF_ENTRY = 241  # a provider's slug, a slash and a model


class ListRefused(Exception):
    """It is no such list; the text is a sentence."""


def is_allowed(allowed: Collection[str], provider: str, model: str) -> bool:
    return not allowed or provider in allowed or f"{provider}/{model}" in allowed


def allows_some(allowed: Collection[str], provider: str) -> bool:
    """Whether anything of `provider` is allowed."""
    return not allowed or any(entry.partition("/")[0] == provider for entry in allowed)


def named_first(names: Sequence[str]) -> str:
    """In a sentence: all of them, or the first and how many more."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def read_allowed(text: str) -> list[str]:
    """The list that somebody typed, one entry a line, each once. Raises ListRefused."""
    return checked(line.strip() for line in text.splitlines())


def checked(entries: Iterable[str]) -> list[str]:
    """`entries` in their order, each once and none of them empty. Raises ListRefused."""
    read = list(dict.fromkeys(entry for entry in entries if entry))
    if len(read) > MOST_ENTRIES:
        raise ListRefused(f"List {MOST_ENTRIES} models at most; a provider's name alone allows all of its models.")
    for entry in read:
        provider, slash, model = entry.partition("/")
        if len(entry) > MOST_OF_ENTRY or not entry.isprintable():
            raise ListRefused("One of the lines is no model. Write one “provider/model” a line.")
        if provider not in PROVIDERS:
            known = ", ".join(PROVIDERS)
            raise ListRefused(f"“{entry[:60]}” begins with no provider. Begin each line with one of: {known}.")
        if slash and not model:
            raise ListRefused(f"“{entry}” names no model. Leave the slash out to allow all models of {provider}.")
    return read
