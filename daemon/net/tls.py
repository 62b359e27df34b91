"""TLS as a client."""

import ssl
from functools import cache


@cache
def tls_context() -> ssl.SSLContext:
    """Checks certificates and names against the system's authorities.

    One for all: to read the authorities' certificates takes longer than a delivery.
    """
    return ssl.create_default_context()
