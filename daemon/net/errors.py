"""The errors of requests to other machines, and their messages."""

import ssl

MAX_REASON_LENGTH = 200
"""Characters."""

# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_WRONG_NAME_CODES = frozenset({62, 64})


class OutboundError(Exception):
    """A request to another machine fails. The text is for the operator, and contains no secret.

    `status` is the HTTP status, or None without an HTTP response.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class TemporaryFailure(OutboundError):
    """The message is not delivered now. A later attempt may succeed."""


class PermanentFailure(OutboundError):
    """The message is not delivered, and no later attempt can succeed."""


class HttpError(OutboundError):
    """The other machine returns no HTTP response. The text never contains its address, a possible secret."""


class MailUnusable(OutboundError):
    """The mail server or the Maildir would accept no email. The text names the cause and the cure."""


class ForbiddenAddress(OSError):
    """The host has no address that this connection may use."""


class NeedsProxy(OSError):
    """Only a proxy can reach the host, and PROXY is unset."""


class ProxyError(OSError):
    """The proxy makes no connection to the host. `strerror` is the cause, for the operator."""


class ProxyUnusable(ProxyError):
    """The proxy makes no connection to any host: it is down, or it accepts no login."""


def is_caused_by(error: BaseException | None, kind: type[Exception]) -> bool:
    """Return whether an error, or the error behind it, is of this kind."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error is not None


def printable_line(text: str) -> str:
    """Return a text of another machine as one printable line of limited length."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(line.split())[:MAX_REASON_LENGTH]


def explain(error: Exception) -> str:
    """Return the cause of a network failure. The text contains no part of the address or the response."""
    match error:
        case TimeoutError():
            return "timed out"
        case ForbiddenAddress():
            return "the host is not public: name it in WEBHOOK_PRIVATE_HOSTS to allow it"
        case ssl.SSLCertVerificationError():
            return f"the certificate is refused: {_certificate_fault(error)}"
        case ssl.SSLError():
            return f"TLS failed: {printable_line(error.reason or 'the connection was closed')}"
        case UnicodeError():
            return "the host name cannot be looked up"
        case OSError() if error.strerror:
            return printable_line(error.strerror)
    return "no HTTP answer"


def _certificate_fault(error: ssl.SSLCertVerificationError) -> str:
    # Python adds the host name to OpenSSL's text for these two codes.
    is_wrong_name = error.verify_code in _WRONG_NAME_CODES
    return "it is for another name" if is_wrong_name else printable_line(error.verify_message)
