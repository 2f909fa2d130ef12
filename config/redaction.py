"""
The last net under logs, error mails and error reports: text that looks like a key is crossed out.

Keys do not get there in the first place: they travel as `Secret`, which prints as ****. This is for the day when
something forgets to, a library that writes headers or addresses above all.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection

from django.http import HttpRequest

from providers.adapters.key_shapes import PREFIXED

CROSSED_OUT = "****"

_VALUE = r"""[^\s"'&;,<>)\]}]{4,}"""
_PATTERNS = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        # Values of headers and parameters that carry keys, however they are written:
        # `x-api-key: …`, `'X-Goog-Api-Key': '…'`, `(b'x-api-key', b'…')`, `api_key=…`,
        # `Authorization: Bearer …`.
        (
            r"""((?:x-api-key|x-goog-api-key|x_api_key|x_goog_api_key|\bapi[-_]?key|\baccess_token|\bauthorization)"""
            r"""\\?["']?\s*(?:[:=,]|=>)\s*\(?(?:b?\\?["'])?(?:(?:bearer|basic)\s+)?)""" + _VALUE,
            re.IGNORECASE,
        ),
        (r"((?:[?&]|&amp;|%3F|%26)(?:api_?key|key|token|access_token)(?:=|%3D))[^\s\"'&<>]+", re.IGNORECASE),
        (r"(\b(?:bearer)\s+)" + _VALUE, re.IGNORECASE),
        # What providers' keys look like. Mistral's have no prefix: rules above.
        (r"(\bkf_[A-Za-z0-9]{8}_)[A-Za-z0-9_-]{4,}", 0),  # our own API tokens; the prefix is no secret
        *((rf"(\b){shape}", 0) for shape in PREFIXED),
    )
)


_SECRET_FIELDS = re.compile(r"key|secret|token|pass|code", re.IGNORECASE)
_SHORTEST_SECRET = 6
_RUN = re.compile(r"[\w.-]{8,}")


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """`text` with everything that looks like a key, and each of `secrets`, crossed out."""
    for secret in secrets:
        text = text.replace(secret, CROSSED_OUT)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{CROSSED_OUT}", text)
    return text


def posted(request: object) -> dict[str, list[str]]:
    """Fields and values of a request; none if it cannot be read, which may be what is to be told about."""
    try:
        fields = request.POST.lists() if isinstance(request, HttpRequest) else []
        return {name: [str(value) for value in values] for name, values in fields}
    except Exception:
        return {}


def posted_secrets(request: object) -> list[str]:
    """What a request posted as key, password or code, longest first; and its plain parts, however it is quoted."""
    values = [
        value.strip() for name, values in posted(request).items() if _SECRET_FIELDS.search(name) for value in values
    ]
    parts = [part for value in values for part in _RUN.findall(value)]
    return sorted({*parts, *(value for value in values if len(value) >= _SHORTEST_SECRET)}, key=len, reverse=True)


class RedactingFilter(logging.Filter):
    """Stands on handlers, which see the records of every logger; on loggers it would miss those beneath."""

    _formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record, and never fails for one that cannot be formatted."""
        try:
            message = record.getMessage()
        except Exception:
            message = f"{record.msg} (could not be formatted)"
        secrets = posted_secrets(getattr(record, "request", None))
        record.msg, record.args = redacted(message, secrets), None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redacted(record.exc_text, secrets)
        if record.stack_info:
            record.stack_info = redacted(record.stack_info, secrets)
        return True
