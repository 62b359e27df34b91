"""A connection to bitcoind that leaves us our senses while bitcoind takes its time.

bitcoind may think for long before it begins an answer (it connects a block, loads a wallet), but then sends all
of it at once. So the first byte is waited for in slices, between which we can live on or stop; afterwards a
short silence means that the connection is broken.
"""

import http.client
import select
import time
from collections.abc import Callable

TIMEOUT_SECONDS = 30.0
"""The longest that an answer is waited for."""

STALL_SECONDS = 4.0
"""The longest silence while connecting, sending, or in the midst of an answer."""

SLICE_SECONDS = 0.2
NOTICED_SECONDS = 3.0
"""After so long the silence is something to tell of."""

WhileWaiting = Callable[[str | None], None]
"""Called at each slice, with what to tell of the silence. What it raises ends the call."""


def live_on(_silence: str | None) -> None:
    """Nothing else has to be done meanwhile."""


class Patience:
    """How the answers on some connections are waited for, and how long the present one has taken."""

    def __init__(self) -> None:
        self.meanwhile: WhileWaiting = live_on

    def wait_for(self, connection: http.client.HTTPConnection) -> None:
        """Return when there is something to read. Raises TimeoutError, and what `meanwhile` raises."""
        began = time.monotonic()
        while connection.sock is not None and not select.select([connection.sock], [], [], SLICE_SECONDS)[0]:
            waited = time.monotonic() - began
            if waited > TIMEOUT_SECONDS:
                raise TimeoutError(f"no answer within {TIMEOUT_SECONDS:g} s")
            self.meanwhile(f"has not answered for {waited:.0f} s" if waited > NOTICED_SECONDS else None)


class _Patient:
    """Of HTTPConnection and HTTPSConnection."""
