"""TLS for connections to other machines."""

import ssl
from functools import cache


@cache
def tls_context() -> ssl.SSLContext:
    """Return a context that checks names, and certificates against the system's authorities.

    All connections share the context, because it is slow to read the authorities' certificates.
    """
    return ssl.create_default_context()
