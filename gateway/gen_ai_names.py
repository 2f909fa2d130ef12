"""
The names of OpenTelemetry's conventions for generative AI that we use, all of them: they may still change.

Source: the metrics chapter of the semantic conventions for generative AI, in development, read 2026-11-28 together
with opentelemetry-semantic-conventions 0.66b2.
"""

from __future__ import annotations

from typing import Final

DURATION: Final = "gen_ai.client.operation.duration"
DURATION_UNIT: Final = "s"
DURATION_BOUNDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS: Final = "gen_ai.client.token.usage"
TOKENS_UNIT: Final = "{token}"
TOKENS_BOUNDS: Final = tuple(4**power for power in range(14))

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  # no secret
ERROR_TYPE: Final = "error.type"

INPUT, OUTPUT = "input", "output"
# Other providers are called as our catalog has them.
PROVIDERS: Final = {"google": "gcp.gemini", "mistral": "mistral_ai"}
CHAT, EMBEDDINGS, GENERATE_CONTENT = "chat", "embeddings", "generate_content"
