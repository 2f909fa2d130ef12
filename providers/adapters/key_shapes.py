"""
What keys look like, to keep them out of where they do not belong: labels, addresses, names of models, logs.

Never a reason to refuse a key where keys are pasted: providers change their formats.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

# Beginnings that only keys have, with enough behind them (the providers' key pages, November 2026).
PREFIXED = (
    r"(?:sk|rk|pk)-[A-Za-z0-9_-]{8,}",  # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek and others
    r"AIza[A-Za-z0-9_-]{10,}",  # Google
    r"AQ\.[A-Za-z0-9_-]{10,}",  # Google, newer
    r"(?:gsk|hf|fw|tgp|pplx|nvapi|xai|csk|r8|glpat|ghp|kf)[_-][A-Za-z0-9_-]{16,}",  # Groq, Hugging Face, xAI and others
    r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",  # tokens that carry their own claims
)
_PREFIXED = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(PREFIXED)})")
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9+=]{20,}")
_TURN = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
RANDOM_TURNS = 0.31  # a letter: words and model names turn less often between cases and digits
# Ids of accounts in addresses, and digests of models, are as random as keys and no secret.
_ACCOUNT_ID = re.compile(r"(?<=/)(?:[0-9a-f]{32}|[0-9a-f-]{36})(?=/|$)")
_DIGEST = re.compile(r"[:@](?:sha256:)?[0-9a-f]{64}$")


def begins_like_key(text: str) -> bool:
    """Whether `text` holds what only keys begin with."""
    return _PREFIXED.search(_spelt_out(text)) is not None


def label_holds_key(text: str) -> bool:
    text = _spelt_out(text)
    return begins_like_key(text) or _UUID.search(text) is not None or _holds_random_word(text)


def url_holds_key(text: str) -> bool:
    text = _spelt_out(text)
    return begins_like_key(text) or _holds_random_word(_ACCOUNT_ID.sub("", text))


def model_holds_key(text: str) -> bool:
    text = _spelt_out(text)
    return begins_like_key(text) or _holds_random_word(_DIGEST.sub("", text))


def _spelt_out(text: str) -> str:
    """As a key is written: without percent signs of addresses, and what word processors make of letters and dashes."""
    if "%" in text:
        text = unquote(text)
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    kinds = ((unicodedata.category(sign), sign) for sign in text)
    return "".join("-" if kind == "Pd" else sign for kind, sign in kinds if kind != "Cf")


def _holds_random_word(text: str) -> bool:
    return any(len(_TURN.findall(word)) >= RANDOM_TURNS * len(word) for word in _WORD.findall(text))
