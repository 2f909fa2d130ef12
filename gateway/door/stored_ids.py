"""
Ids of what a provider keeps: earlier responses, conversations, files, containers.

A key may serve many tokens, and a provider lets whoever has the key read all of it. Nothing is made through a door that
a provider keeps under an id, but for responses, whose ids belong to nobody here: so whoever names one is refused.
"""

from __future__ import annotations

import re

from gateway.door.endpoints import RESPONSES, Endpoint, Wire
from gateway.door.errors import DoorError
from providers.adapters.dialects.request import Body

_NAMED = re.compile(r'"(?:file_id|container_id|vector_store_id)"\s*:\s*"|"vector_store_ids"\s*:\s*\[\s*"')
_GOOGLE_FILE = re.compile(r'"(?:fileUri|file_uri)"\s*:\s*"[^"]*/files/|"(?:cachedContent|cached_content)"\s*:\s*"')


def refuse_stored_ids(endpoint: Endpoint, body: Body) -> None:
    """Raises DoorError where `body` names something that another token may have made."""
    if endpoint is RESPONSES:
        for name in ("previous_response_id", "conversation"):
            if body.value(name) is not None:
                raise _refused(name)
    named = (_GOOGLE_FILE if endpoint.wire is Wire.GEMINI else _NAMED).search(body.text)
    if named:
        raise _refused(named[0].split('"')[1])


def _refused(name: str) -> DoorError:
    return DoorError(
        400,
        "stored_id",
        f"“{name}” names what is kept at the provider, where other tokens of the same key could have put it. Send the "
        "content itself.",
    )
