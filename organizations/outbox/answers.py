"""
What a failed attempt means: whose fault it was, and a sentence for staff.

Servers quote what they refuse, which may be a link that opens an account. Of their words only those stay that can be
neither a link, an address nor a code.
"""

from __future__ import annotations

import re
import smtplib
from enum import Enum, auto

from django.core.mail import EmailMessage
from django.views.decorators.debug import sensitive_variables

from organizations.outbox.delivery import NotTaken, TookTooLong

CROSSED_OUT = "…"
LONGEST = 300
_QUOTED = re.compile(r"\S*(?:@|/|www\.)\S*|[\w=+-]{24,}|(?=[\w=+-]{12})\w[a-z]*[^a-z\s.,:;()][\w=+-]*")
_CODE = re.compile(r"(?=[\w-]{4})[\w-]*\d[\w-]*|\b[A-Z-]{4,}\b")


class Fault(Enum):
    SERVER = auto()  # nothing can be sent: the next mail would fare the same
    LATER = auto()  # this mail, for now
    FINAL = auto()  # this mail, for good


def fault_of(error: Exception) -> Fault:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code = max((int(code) for code, _ in error.recipients.values()), default=0)
    elif isinstance(error, smtplib.SMTPDataError):
        code = int(error.smtp_code)
    elif isinstance(error, (UnicodeError, ValueError)):
        return Fault.FINAL
    elif isinstance(error, (OSError, NotTaken)):  # SMTPException is an OSError; sender and login are settings
        return Fault.SERVER
    else:
        return Fault.LATER
    if code == 421:
        return Fault.SERVER
    return Fault.FINAL if code >= 500 else Fault.LATER


@sensitive_variables()
def sentence_of(error: Exception, message: EmailMessage) -> str:
    """Why an attempt failed, without anything that `message` says."""
    said: str | bytes = ""
    match error:
        case smtplib.SMTPRecipientsRefused():
            code, said = next(iter(error.recipients.values()), (0, b""))
            what = f"The mail server refused the recipient ({code})"
        case smtplib.SMTPSenderRefused():
            what, said = f"The mail server refused the sender ({error.smtp_code})", error.smtp_error
        case smtplib.SMTPAuthenticationError():
            what, said = f"The mail server refused the login ({error.smtp_code})", error.smtp_error
        case smtplib.SMTPResponseException():
            what, said = f"The mail server refused ({error.smtp_code})", error.smtp_error
        case smtplib.SMTPServerDisconnected() if "timed out" not in str(error):
            what = "The mail server closed the connection"
        case smtplib.SMTPNotSupportedError():
            what = "The mail server does not do what EMAIL_URL asks for (encryption or login)"
        case TookTooLong() | TimeoutError() | smtplib.SMTPServerDisconnected():
            what = "The mail server did not answer in time"
        case ConnectionRefusedError():
            what = "Nothing listens at the mail server's address and port"
        case OSError():
            what, said = "The mail server could not be reached", error.strerror or type(error).__name__
        case NotTaken():
            what = "The mail transport took nothing"
        case _:
            what = f"The mail could not be written ({type(error).__name__})"
    words = harmless(said.decode(errors="replace") if isinstance(said, bytes) else str(said), message)
    return (f"{what}: {words}" if words else f"{what}.")[:LONGEST]


@sensitive_variables()
def harmless(said: str, message: EmailMessage) -> str:
    """The words of a server without links, addresses, long runs, and codes that stand in the mail."""
    mail = f"{message.subject} {message.body}"

    def known(word: re.Match[str]) -> str:
        return CROSSED_OUT if word[0] in mail else word[0]

    printable = "".join(letter if letter.isprintable() else " " for letter in said)
    return " ".join(_CODE.sub(known, _QUOTED.sub(CROSSED_OUT, printable)).split())
