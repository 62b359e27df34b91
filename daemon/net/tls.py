"""TLS as a client."""

import ssl
from functools import cache


@cache
def tls_context() -> ssl.SSLContext:
    """Return a context that checks certificates and names against the system's authorities.

    All connections share it, because reading the authorities' certificates is slow.
    """
    return ssl.create_default_context()
