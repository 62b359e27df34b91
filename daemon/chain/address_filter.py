"""Our addresses, held against everybody's outputs."""

from collections.abc import Sequence

from models.address import find_scripts, newest_address_id, scripts_after
from payments.transaction import Transaction

AT_ONCE = 500
"""How many addresses are read at a time: a daemon that starts has to hear other things too."""

OVERLAP = 100
"""How many ids before the newest are read again with each that is new."""

BITS_AN_ADDRESS = 6
"""At least; on the average 9."""

SMALLEST, LARGEST = 2**20, 2**28
"""In bits. Above the largest, at 44 million addresses, it only gets coarser."""

_SECOND, _THIRD = 18, 36
"""Where in a hash's 64 bits the other places begin. The first is at 0; that they overlap does no harm."""


class Addresses:
    """Which scripts are ours. The table knows; a Bloom filter in memory spares it most foreign ones.

    The filter says "perhaps" of every script of ours and, when it is as full as it gets, of one foreign
    script in sixteen: (1 - e^(-3/6))^3. It is read from the table little by little, and follows it by the
    addresses' ids; until then the table is asked for all.
    """

    def __init__(self) -> None:
        self._last_id = 0
        self._count = 0
        self.is_read = False
        """Whether the filter knows the whole table."""
        self._begin(0)

    def read_on(self) -> None:
        """Read addresses that are new to the filter, or the next of many."""
        rows = scripts_after(self._last_id, AT_ONCE)
        self.is_read = len(rows) < AT_ONCE
        if not rows:
            return
        bits, mask = self._bits, self._mask
        # PostgreSQL may commit rows of two writers out of the order of their ids, as when one daemon takes
        # over from another that is at its last breath.
        for _, script in scripts_after(max(self._last_id - OVERLAP, 0), OVERLAP) + rows:
            h = hash(script)
            for place in (h & mask, h >> _SECOND & mask, h >> _THIRD & mask):
                bits[place >> 3] |= 1 << (place & 7)
        self._last_id = rows[-1][0]
        self._count += len(rows)
        if self._count * BITS_AN_ADDRESS > self._mask + 1 < LARGEST:
            self._begin(newest_address_id())

    def paid(self, transactions: Sequence[Transaction]) -> list[tuple[Transaction, int, int]]:
        """The outputs that pay an address of the table, in their order: each as its transaction, its vout and
        the address's id."""
        if not self.is_read:
            self.read_on()
        while True:
            perhaps = self._perhaps_ours(transactions)
            known, newest_id = find_scripts(script for _, _, script in perhaps)
            if newest_id <= self._last_id or not self.is_read:
                return [(t, vout, known[script]) for t, vout, script in perhaps if script in known]
            # One was added since the last time.
            self.read_on()

    def _perhaps_ours(self, transactions: Sequence[Transaction]) -> list[tuple[Transaction, int, bytes]]:
        """The outputs that the filter lets through; all of them until it is read."""
        if not self.is_read:
            return [(t, vout, s) for t in transactions for vout, (_, s) in enumerate(t.outputs)]
        bits, mask = self._bits, self._mask
        # Neither a function nor a loop for the three places: here is where every foreign output goes. Nor a
        # set of the scripts: to find out which are the same costs more than to look at each.
        return [
            (t, vout, s)
            for t in transactions
            for vout, (_, s) in enumerate(t.outputs)
            if bits[(place := (h := hash(s)) & mask) >> 3] >> (place & 7) & 1
            and bits[(place := h >> _SECOND & mask) >> 3] >> (place & 7) & 1
            and bits[(place := h >> _THIRD & mask) >> 3] >> (place & 7) & 1
        ]

    def _begin(self, expected: int) -> None:
        """Forget all, and make room for so many."""
        size = min(max(2 ** (expected * BITS_AN_ADDRESS - 1).bit_length(), SMALLEST), LARGEST)
        self._bits, self._mask = bytearray(size // 8), size - 1
        self._last_id = self._count = 0
        self.is_read = False
