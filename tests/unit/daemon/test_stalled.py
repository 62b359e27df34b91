"""A chain with less work: whether the node catches up, or stays there."""

from daemon.chain.stalled import MIN_BLOCKS, STALLED_SECONDS, StalledChain


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_node_that_stays_is_stalled_after_the_time() -> None:
    """Before that it may have only just come back."""
    clock = Clock()
    chain = StalledChain(clock)
    assert not chain.is_stalled(100)
    clock.seconds += STALLED_SECONDS - 1
    assert not chain.is_stalled(100)
    clock.seconds += 1
    assert chain.is_stalled(100)


def test_a_node_that_catches_up_is_not_stalled() -> None:
    """However long it takes: it reads many blocks in each hour."""
    clock = Clock()
    chain = StalledChain(clock)
    for hour in range(10):
        assert not chain.is_stalled(100 + hour * MIN_BLOCKS)
        clock.seconds += STALLED_SECONDS - 1


def test_a_chain_that_only_grows_is_stalled() -> None:
    """The short side of a split has new blocks, too."""
    clock = Clock()
    chain = StalledChain(clock)
    found = []
    for block in range(7):
        found.append(chain.is_stalled(100 + block))
        clock.seconds += STALLED_SECONDS / 6
    assert found == [False] * 6 + [True]


def test_enough_work_begins_anew() -> None:
    """The next time is another hour."""
    clock = Clock()
    chain = StalledChain(clock)
    chain.is_stalled(100)
    clock.seconds += STALLED_SECONDS
    chain.clear()
    assert not chain.is_stalled(100)
