"""The advice about a wallet program's gap limit: the unused addresses after which it stops its search."""

MIN_ADVISED_GAP = 15
"""The usual gap limit is 20 (BIP 44)."""

LIMIT_STEP = 50


def needed_gap_limit(gap: int) -> int:
    """Return a gap limit for a wallet with so many unpaid addresses in a row, with room for more."""
    return (gap // LIMIT_STEP + 1) * LIMIT_STEP


def gap_advice(name: str, gap: int | None) -> str | None:
    """Return a line with the gap limit to set, or None while the usual gap limit is enough."""
    if gap is None or gap < MIN_ADVISED_GAP:
        return None
    limit = needed_gap_limit(gap)
    return (
        f"{gap} addresses in a row of wallet {name} are unpaid. A wallet program with a smaller gap limit "
        f"does not show later payments, and loses none. Set the limit to {limit}. "
        "Sparrow: Settings, Advanced, Gap Limit. "
        f"Electrum: in the Console wallet.change_gap_limit({limit}), then wallet.synchronize()"
    )
