"""
Why something did not work: a code and what it names, from which the sentence for people is made when it is shown.

Rows keep the reason, so that what it says can be worded anew, or in another language, for what happened before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from providers.adapters.sentences import OF_A_KEY, SENTENCES


@dataclass(frozen=True, slots=True)
class Reason:
    """
    `parameters` are what the sentence names, other reasons among them. They hold nothing that a provider wrote.

    A sentence is shown in one of two places: beside the work that a call was made for, or on the row of the key that
    was validated, where nobody asked a model anything; some are not true in both (`of_key`).
    """

    code: str
    parameters: Mapping[str, str | float | Reason]

    @property
    def sentence(self) -> str:
        return SENTENCES.get(self.code, "").format_map(_Shown(self.parameters, of_key=False))

    @property
    def of_key(self) -> str:
        template = OF_A_KEY.get(self.code) or SENTENCES.get(self.code, "")
        return template.format_map(_Shown(self.parameters, of_key=True))

    def as_json(self) -> dict[str, Any]:
        shown = {
            name: value.as_json() if isinstance(value, Reason) else value for name, value in self.parameters.items()
        }
        return {"code": self.code, **({"parameters": shown} if shown else {})}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        parameters = {
            name: cls.from_json(value) if isinstance(value, dict) else value
            for name, value in stored.get("parameters", {}).items()
        }
        return cls(stored["code"], parameters)


def reason(code: str, **parameters: str | float | Reason) -> Reason:
    return Reason(code, parameters)


class _Shown(dict[str, Any]):
    """The parameters as they stand in a sentence. One that an older row lacks is left out: no row breaks a page."""

    def __init__(self, parameters: Mapping[str, str | float | Reason], *, of_key: bool) -> None:
        super().__init__(
            (name, (value.of_key if of_key else value.sentence) if isinstance(value, Reason) else value)
            for name, value in parameters.items()
        )

    def __missing__(self, name: str) -> str:
        return ""
