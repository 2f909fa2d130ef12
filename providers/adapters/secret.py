"""
A key in plain text, and its only carrier.

It is opened by `Secret.reveal()`, called where a request header is built (in this package) and where a key is sealed
(`providers.custody.sealing`), nowhere else.
"""

from __future__ import annotations

from typing import NoReturn

SHORTEST_KEY = 8  # that a provider makes; servers of one's own take shorter words
SHORTEST_KEY_WITH_HINT = 20


class Secret:
    """A plaintext key. Prints as ****, cannot be pickled, copied into JSON or compared by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return bool(self._value)

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled.")

    @property
    def is_short(self) -> bool:
        """Whether it is shorter than a provider's own keys are: what servers of one's own take for one."""
        return len(self._value) < SHORTEST_KEY

    @property
    def last4(self) -> str:
        """The last four characters, or "" of a key so short that they would tell too much."""
        return self._value[-4:] if len(self._value) >= SHORTEST_KEY_WITH_HINT else ""
