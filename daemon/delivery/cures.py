"""The steps for the operator when the mail server accepts no email. Each failure gets its own step only."""

import smtplib

from daemon.net.errors import ProxyError, ProxyUnusable, is_caused_by

START_PROXY = "start the proxy, or correct PROXY"
CORRECT_PROXY = "correct PROXY, or the host and the port in SMTP_URL"
CORRECT_ADDRESS = "correct the host, the port and the kind of TLS in SMTP_URL"
CORRECT_LOGIN = "correct the user and the password in SMTP_URL"
NO_LOGIN = "this port accepts no login; remove USER:PASSWORD@ from SMTP_URL, or correct the port"
TRY_AGAIN = "so far no setting is wrong; run this again, and if it fails again, read the mail server's log"

# RFC 4954 4 and 6. The first codes mean that a login needs TLS first. The other codes mean that the server
# does not have the command or the mechanism.
_NEEDS_TLS = frozenset({530, 534, 538})
_HAS_NO_LOGIN = frozenset({500, 502, 503, 504})


def cure_for(error: Exception, cure: str) -> str:
    """Return `cure` if the server refused the setting that it names, else the cure of this failure."""
    if is_caused_by(error, ProxyUnusable):
        return START_PROXY
    if is_caused_by(error, ProxyError):
        return CORRECT_PROXY
    if cure == CORRECT_ADDRESS:
        return cure
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return NO_LOGIN
    code: int | None = getattr(error, "code", None)
    if code is not None:
        return _cure_for_code(code, cure)
    # The server never received a login that cannot be encoded.
    return cure if type(error) is smtplib.SMTPException else TRY_AGAIN


def _cure_for_code(code: int, cure: str) -> str:
    if code < 500:
        return TRY_AGAIN
    if cure == CORRECT_LOGIN and code in _NEEDS_TLS:
        return CORRECT_ADDRESS
    return NO_LOGIN if cure == CORRECT_LOGIN and code in _HAS_NO_LOGIN else cure
