"""From 15 unpaid addresses on, the operator reads the gap limit to set."""

from payments.gap import gap_advice, needed_gap_limit


def test_a_usual_gap_needs_no_advice() -> None:
    """bitcoind's own wallet has no gap."""
    assert gap_advice("shop", 14) is None
    assert gap_advice("bitcoind", None) is None


def test_the_advice_has_the_limit_for_two_programs() -> None:
    line = gap_advice("shop", 15)
    assert line is not None
    assert "15 addresses in a row of wallet shop" in line
    assert "Sparrow: Settings, Advanced, Gap Limit" in line
    assert "wallet.change_gap_limit(50)" in line


def test_the_needed_limit_is_above_the_gap() -> None:
    assert [needed_gap_limit(gap) for gap in (15, 49, 50, 1500)] == [50, 50, 100, 1550]
