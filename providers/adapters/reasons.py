"""
Why something did not work: a code and what it names, from which the sentence for people is made when it is shown.

Rows keep the reason, so that what it says can be worded anew, or in another language, for what happened before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from providers.adapters.sentences import OF_A_KEY, SENTENCES


@dataclass(frozen=True, slots=True)
class Reason:
    """
    `parameters` are what the sentence names, other reasons among them. They hold nothing that a provider wrote.

    A sentence is shown in one of two places: beside the work that a call was made for, or on the row of the key that
    was validated, where nobody asked a model anything; some are not true in both (`of_key`). The first may name a
    reason in the words of the second: "{detail.of_key}".

    What the apps above have to say is said by a class of their own, with `sentences` beside those of here.
    """

    sentences: ClassVar[Mapping[str, str]] = SENTENCES

    code: str
    parameters: Mapping[str, str | float | Reason]

    @property
    def sentence(self) -> str:
        return self.sentences.get(self.code, "").format_map(_Shown(self.parameters, of_key=False))

    @property
    def of_key(self) -> str:
        template = OF_A_KEY.get(self.code) or self.sentences.get(self.code, "")
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


class _Part(str):
    """What stands for a parameter in a sentence."""

    of_key: str

    def __new__(cls, text: object, of_key: str | None = None) -> Self:
        part = super().__new__(cls, text)
        part.of_key = str(text) if of_key is None else of_key
        return part


class _Shown(dict[str, Any]):
    """The parameters as they stand in a sentence. One that an older row lacks is left out: no row breaks a page."""

    def __init__(self, parameters: Mapping[str, str | float | Reason], *, of_key: bool) -> None:
        super().__init__((name, self._part(value, of_key=of_key)) for name, value in parameters.items())

    @staticmethod
    def _part(value: str | float | Reason, *, of_key: bool) -> _Part:
        if isinstance(value, Reason):
            return _Part(value.of_key if of_key else value.sentence, value.of_key)
        return _Part(value)

    def __missing__(self, name: str) -> str:
        return _Part("")
