"""Every answer of a mail server, and every silence, classed once (RFC 5321 §4.2.1, RFC 3463). Pure."""

import ssl

from aiosmtplib import SMTPConnectResponseError, SMTPHeloError
from aiosmtplib.errors import SMTPResponseException

from outbox import enhanced_status
from outbox.service import describe
from workers.outcome import Outcome, Permanent, RecipientGone, Throttled, Transient, Unknown, clean
from workers.smtp_transfer import Transfer

NO_SUCH_MAILBOX = frozenset({550, 551, 553})
NOT_LOGGED_IN = frozenset({530, 534, 535, 538})


def classify(error: Exception, transfer: Transfer) -> Outcome:
    """The outcome that an error stands for. It is told without the recipient's address."""
    if isinstance(error, SMTPResponseException):
        return answered(error, transfer)
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        if transfer.recipient_named:
            return Permanent("bad_address", "the address cannot be used in a mail command", sends=0)
        return Transient("config", clean(f"the mail server cannot be used as configured: {error}"))
    return unanswered(error, transfer)


def unanswered(error: Exception, transfer: Transfer) -> Outcome:
    if transfer.content_left:
        return Unknown(
            clean(f"the mail server fell silent after the content was sent: {type(error).__name__}")
        )
    if isinstance(error.__cause__ or error, ssl.SSLError):
        return Transient("tls", clean(f"no TLS with the mail server: {describe(error)}"))
    if isinstance(error, TimeoutError):
        return Transient("timeout", "the mail server did not answer in time")
    return Transient("connection", clean(f"the mail server cannot be reached: {describe(error)}"))


def answered(error: SMTPResponseException, transfer: Transfer) -> Outcome:
    code, reason = error.code, clean(f"{error.code} {error.message}")
    if isinstance(error, SMTPConnectResponseError | SMTPHeloError):
        # Not a mail was begun, so nothing was sent.
        return Throttled(reason, sends=0) if code == 421 else Transient("connection", reason)
    if code == 421:
        return Throttled(reason)
    if code in NOT_LOGGED_IN:
        return Transient("auth", reason)
    if 400 <= code < 500:
        return Transient("smtp_4xx", reason)
    if 500 <= code < 600:
        named = transfer.recipient_named and not transfer.content_left
        return RecipientGone(reason) if named and gone(error) else Permanent("smtp_5xx", reason)
    # An answer that is none (aiosmtplib gives -1): after the content, nobody knows.
    return Unknown(reason) if transfer.content_left else Transient("smtp_protocol", reason)


def gone(error: SMTPResponseException) -> bool:
    """A 550 may also mean "not from you" or "mailbox full"; where the server says which, that counts."""
    said = enhanced_status.find(error.message[:20])
    return error.code in NO_SUCH_MAILBOX and (said is None or enhanced_status.no_such_address(said))
