"""What the operator can do where the mail server takes no email: never the cure of another failure."""

import smtplib

CORRECT_ADDRESS = "correct the host, the port and the kind of TLS in SMTP_URL"
CORRECT_LOGIN = "correct the user and the password in SMTP_URL"
NO_LOGIN = "this server takes no login here: take USER:PASSWORD@ out of SMTP_URL, or correct the port"
TRY_AGAIN = "no setting is wrong so far; run this again, and see the mail server's log if it stays so"

# RFC 4954 4 and 6: a login needs TLS first; the server does not have the command or the mechanism.
_NEEDS_TLS = frozenset({530, 534, 538})
_HAS_NO_LOGIN = frozenset({500, 502, 503, 504})


def cure_for(error: Exception, cure: str) -> str:
    """Return `cure` where the server refused what it names, and else the cure of this failure."""
    if cure == CORRECT_ADDRESS:
        return cure
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return NO_LOGIN
    code: int | None = getattr(error, "code", None)
    if code is not None:
        return _cure_for_code(code, cure)
    # A login that cannot be written was never sent.
    return cure if type(error) is smtplib.SMTPException else TRY_AGAIN


def _cure_for_code(code: int, cure: str) -> str:
    if code < 500:
        return TRY_AGAIN
    if cure == CORRECT_LOGIN and code in _NEEDS_TLS:
        return CORRECT_ADDRESS
    return NO_LOGIN if cure == CORRECT_LOGIN and code in _HAS_NO_LOGIN else cure
