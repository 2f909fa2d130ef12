"""
What a failed call means, and the sentences that say so.

A sentence is shown in one of two places: beside the work that a call was made for, or on the row of the key that was
validated, where nobody asked a model anything. A verdict holds both where one sentence would not be true in both.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple


class ErrorKind(StrEnum):
    """
    What a failed call means for the one who made it. INVALID and NO_CREDIT say that the key itself does not work.

    NEEDS_REENTRY is ours: the stored key did not open, so that nothing was asked. QUOTA_USED_UP is a limit of a day
    or longer: it lifts by itself, but long after anybody who waits for an answer has gone.
    """

    INVALID = "invalid"
    LIMITED = "limited"
    NO_CREDIT = "no_credit"
    NEEDS_REENTRY = "needs_reentry"
    QUOTA_USED_UP = "quota_used_up"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNREACHABLE = "unreachable"
    MODEL_NOT_FOUND = "model_not_found"
    BAD_REQUEST = "bad_request"
    UNEXPECTED = "unexpected"

    @property
    def is_temporary(self) -> bool:
        """Whether the same call may succeed soon with nothing changed."""
        return self in (ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED, ErrorKind.UNREACHABLE)


class Verdict(NamedTuple):
    """`of_key` is the sentence for the row of a validated key, "" where `sentence` is true there too."""

    kind: ErrorKind
    sentence: str
    of_key: str = ""


class Verdicts:
    """The verdicts that several providers share, in their own names."""

    provider_name: ClassVar[str]
    key_page: ClassVar[str]

    def invalid(self) -> Verdict:
        return Verdict(
            ErrorKind.INVALID,
            f"{self.provider_name} does not accept this key. Check that it was pasted whole, or make a new "
            f"one at {self.key_page} and replace it here.",
        )

    def account_closed(self) -> Verdict:
        return Verdict(
            ErrorKind.INVALID,
            f"{self.provider_name} has disabled the account or organization behind this key. Ask {self.provider_name} "
            "why, or replace the key by one of another account.",
        )

    def limited(self) -> Verdict:
        return Verdict(
            ErrorKind.LIMITED,
            f"{self.provider_name} knows this key, but refused it this request. Look at the key's "
            f"permissions at {self.key_page}.",
            f"{self.provider_name} knows this key, but did not allow it what it was validated with. Look at the key's "
            f"permissions at {self.key_page}.",
        )

    def no_credit(self) -> Verdict:
        return Verdict(
            ErrorKind.NO_CREDIT,
            f"The {self.provider_name} account behind this key has no credit left or has reached its "
            "spending limit. Top it up or raise the limit there, then validate the key again.",
        )

    def too_dear(self) -> Verdict:
        """Some credit is left, so the key is not to be stopped for it."""
        return Verdict(
            ErrorKind.BAD_REQUEST,
            f"What is left of the credit at {self.provider_name} does not cover this request. Top it up there, or "
            "choose a cheaper model for the action.",
            f"What is left of the credit at {self.provider_name} did not cover a test call. Top it up there, then "
            "validate the key again.",
        )

    def rate_limited(self) -> Verdict:
        return Verdict(
            ErrorKind.RATE_LIMITED,
            f"{self.provider_name} limits how much this key may do at a time, and that is used up. "
            "Wait a minute, then try again.",
        )

    def quota_used_up(self, until: str) -> Verdict:
        """`until` says in a sentence of its own when the quota is renewed."""
        return Verdict(
            ErrorKind.QUOTA_USED_UP,
            f"{self.provider_name} limits what this key may do in a day or a month, and that is used up for this "
            f"model. {until} Until then choose another model for the action, or raise the limit there.",
            f"{self.provider_name} limits what this key may do in a day or a month, and that is used up. {until} "
            "Validate the key again then, or raise the limit there.",
        )

    def overloaded(self) -> Verdict:
        return Verdict(
            ErrorKind.OVERLOADED,
            f"{self.provider_name} is overloaded or has a fault, which says nothing about the key. Try again in a "
            "while.",
        )

    def model_not_found(self) -> Verdict:
        return Verdict(
            ErrorKind.MODEL_NOT_FOUND,
            f"{self.provider_name} does not offer this model to this key. Choose another model for the action.",
            f"{self.provider_name} does not offer this key the model it was to be proven with. Type the id of another "
            "one.",
        )

    def bad_request(self) -> Verdict:
        return Verdict(
            ErrorKind.BAD_REQUEST,
            f"{self.provider_name} could not work with this request. Another model may; choose one for the action.",
            f"{self.provider_name} could not work with what the key was validated with, which says nothing about the "
            "key. Try again; if it stays so, tell whoever runs this installation.",
        )

    def too_long(self) -> Verdict:
        return Verdict(
            ErrorKind.BAD_REQUEST,
            "The text is longer than this model can take. Shorten the profile or the briefing, or choose a "
            "model with a larger context.",
            self._of_a_test_call("it could not take a test call"),
        )

    def too_long_for_key(self) -> Verdict:
        return Verdict(
            ErrorKind.BAD_REQUEST,
            f"The text has more tokens than {self.provider_name} lets this key use within a minute, so waiting does "
            "not help. Shorten the profile or the briefing, choose another model, or raise the key's limits there.",
            self._of_a_test_call("a test call had more tokens than the key may use within a minute"),
        )

    def content_refused(self) -> Verdict:
        return Verdict(
            ErrorKind.BAD_REQUEST,
            f"{self.provider_name} refused the text because of its content rules. "
            "Look at the text, or choose another model for the action.",
            self._of_a_test_call("it refused a test call because of its content rules"),
        )

    def unknown_error(self) -> Verdict:
        return Verdict(
            ErrorKind.UNEXPECTED,
            f"{self.provider_name} refused the call for a reason we do not know. Try again; if it stays so, "
            "tell whoever runs this installation.",
        )

    def _of_a_test_call(self, what: str) -> str:
        return f"{self.provider_name} could not prove the key: {what}. Type the id of another model and try again."
