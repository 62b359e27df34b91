"""Our addresses, held against everybody's outputs."""

from collections.abc import Set

from models.address import newest_address_id, ours, scripts_after

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

    def ours(self, scripts: Set[bytes]) -> dict[bytes, int]:
        """Which of these scripts are in the table, each with its address's id."""
        self.read_on()
        if not self.is_read:
            return ours(scripts)
        bits, mask = self._bits, self._mask
        # Neither a function nor a loop for the three places: here is where every foreign output goes.
        return ours(
            s
            for s in scripts
            if bits[(place := (h := hash(s)) & mask) >> 3] >> (place & 7) & 1
            and bits[(place := h >> _SECOND & mask) >> 3] >> (place & 7) & 1
            and bits[(place := h >> _THIRD & mask) >> 3] >> (place & 7) & 1
        )

    def _begin(self, expected: int) -> None:
        """Forget all, and make room for so many."""
        size = min(max(2 ** (expected * BITS_AN_ADDRESS - 1).bit_length(), SMALLEST), LARGEST)
        self._bits, self._mask = bytearray(size // 8), size - 1
        self._last_id = self._count = 0
        self.is_read = False
