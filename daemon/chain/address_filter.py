"""A search for our addresses among the outputs of all transactions."""

from collections.abc import Sequence

from models.address import find_scripts, newest_address_id, scripts_after
from payments.transaction import Transaction

AT_ONCE = 500
"""Addresses in one read. A daemon that starts must also serve other work between two reads."""

OVERLAP = 100
"""Ids before the newest id that the filter reads again together with new ids."""

BITS_AN_ADDRESS = 6
"""The minimum. The average is 9."""

SMALLEST, LARGEST = 2**20, 2**28
"""Limits of the size, in bits. Above the largest, at 44 million addresses, the filter only gets coarser."""

_SECOND, _THIRD = 18, 36
"""Offsets of the second and third index in a hash of 64 bits. The first is at 0. Overlaps do no harm."""


class Addresses:
    """The address table, with a Bloom filter in memory that spares the table most foreign scripts.

    The filter passes every script of ours. At its fullest it also passes one foreign script in sixteen,
    (1 - e^(-3/6))^3. `read_on` fills the filter batch by batch in the order of the addresses' ids. Until the
    filter is complete, the table looks up every script.
    """

    def __init__(self) -> None:
        self._last_id = 0
        self._count = 0
        self.is_read = False
        """True if the filter contains the whole table."""
        self._begin(0)

    def read_on(self) -> None:
        """Read the next addresses that are not in the filter, up to AT_ONCE."""
        rows = scripts_after(self._last_id, AT_ONCE)
        self.is_read = len(rows) < AT_ONCE
        if not rows:
            return
        bits, mask = self._bits, self._mask
        # PostgreSQL may commit the rows of two writers out of the order of their ids. This can happen when
        # one daemon takes over from another.
        for _, script in scripts_after(max(self._last_id - OVERLAP, 0), OVERLAP) + rows:
            h = hash(script)
            for index in (h & mask, h >> _SECOND & mask, h >> _THIRD & mask):
                bits[index >> 3] |= 1 << (index & 7)
        self._last_id = rows[-1][0]
        self._count += len(rows)
        if self._count * BITS_AN_ADDRESS > self._mask + 1 < LARGEST:
            self._begin(newest_address_id())

    def paid(self, transactions: Sequence[Transaction]) -> list[tuple[Transaction, int, int]]:
        """Return (transaction, vout, address id) for each output that pays us, in the given order."""
        if not self.is_read:
            self.read_on()
        while True:
            candidates = self._candidates(transactions)
            known, newest_id = find_scripts(script for _, _, script in candidates)
            if newest_id <= self._last_id or not self.is_read:
                return [(t, vout, known[script]) for t, vout, script in candidates if script in known]
            # The table has new addresses since the last read.
            self.read_on()

    def _candidates(self, transactions: Sequence[Transaction]) -> list[tuple[Transaction, int, bytes]]:
        """Return (transaction, vout, script) for each output that the filter passes.

        Return all outputs while the filter is incomplete.
        """
        if not self.is_read:
            return [(t, vout, s) for t in transactions for vout, (_, s) in enumerate(t.outputs)]
        bits, mask = self._bits, self._mask
        # Every foreign output runs through this expression, so it has neither a function nor a loop. It also
        # has no set of scripts, because finding duplicates costs more than testing each script.
        return [
            (t, vout, s)
            for t in transactions
            for vout, (_, s) in enumerate(t.outputs)
            if bits[(index := (h := hash(s)) & mask) >> 3] >> (index & 7) & 1
            and bits[(index := h >> _SECOND & mask) >> 3] >> (index & 7) & 1
            and bits[(index := h >> _THIRD & mask) >> 3] >> (index & 7) & 1
        ]

    def _begin(self, expected: int) -> None:
        """Clear the filter, and size it for `expected` addresses."""
        size = min(max(2 ** (expected * BITS_AN_ADDRESS - 1).bit_length(), SMALLEST), LARGEST)
        self._bits, self._mask = bytearray(size // 8), size - 1
        self._last_id = self._count = 0
        self.is_read = False
