"""What a failed call means, and the reasons that say so."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple

from providers.adapters.reasons import Reason, reason


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
    kind: ErrorKind
    reason: Reason

    @property
    def sentence(self) -> str:
        return self.reason.sentence


class Verdicts:
    """The verdicts that several providers share, in their own names."""

    provider_name: ClassVar[str]
    key_page: ClassVar[str]

    def invalid(self) -> Verdict:
        return Verdict(ErrorKind.INVALID, reason("invalid", provider=self.provider_name, key_page=self.key_page))

    def account_closed(self) -> Verdict:
        return Verdict(ErrorKind.INVALID, reason("account_closed", provider=self.provider_name))

    def limited(self) -> Verdict:
        return Verdict(ErrorKind.LIMITED, reason("limited", provider=self.provider_name, key_page=self.key_page))

    def no_credit(self) -> Verdict:
        return Verdict(ErrorKind.NO_CREDIT, reason("no_credit", provider=self.provider_name))

    def too_dear(self) -> Verdict:
        """Some credit is left, so the key is not to be stopped for it."""
        return Verdict(ErrorKind.BAD_REQUEST, reason("too_dear", provider=self.provider_name))

    def rate_limited(self) -> Verdict:
        return Verdict(ErrorKind.RATE_LIMITED, reason("rate_limited", provider=self.provider_name))

    def quota_used_up(self, until: Reason) -> Verdict:
        """`until` says in a sentence of its own when the quota is renewed."""
        return Verdict(ErrorKind.QUOTA_USED_UP, reason("quota_used_up", provider=self.provider_name, until=until))

    def overloaded(self) -> Verdict:
        return Verdict(ErrorKind.OVERLOADED, reason("overloaded", provider=self.provider_name))

    def model_not_found(self) -> Verdict:
        return Verdict(ErrorKind.MODEL_NOT_FOUND, reason("model_not_found", provider=self.provider_name))

    def bad_request(self) -> Verdict:
        return Verdict(ErrorKind.BAD_REQUEST, reason("bad_request", provider=self.provider_name))

    def too_long(self) -> Verdict:
        return Verdict(ErrorKind.BAD_REQUEST, reason("too_long", provider=self.provider_name))

    def too_long_for_key(self) -> Verdict:
        return Verdict(ErrorKind.BAD_REQUEST, reason("too_long_for_key", provider=self.provider_name))

    def content_refused(self) -> Verdict:
        return Verdict(ErrorKind.BAD_REQUEST, reason("content_refused", provider=self.provider_name))

    def unknown_error(self) -> Verdict:
        return Verdict(ErrorKind.UNEXPECTED, reason("unknown_error", provider=self.provider_name))
