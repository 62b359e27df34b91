"""A chain with less work is stalled, unless the node catches up."""

from daemon.chain.stalled import STALLED_SECONDS, StalledChain


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_node_without_progress_is_stalled_after_the_time() -> None:
    """Before that it may have only just started."""
    clock = Clock()
    chain = StalledChain(clock)
    assert not chain.is_stalled(100, 102)
    clock.seconds += STALLED_SECONDS - 1
    assert not chain.is_stalled(100, 102)
    clock.seconds += 1
    assert chain.is_stalled(100, 102)


def test_a_node_that_catches_up_is_not_stalled() -> None:
    """Each hour it reads a good part of the missing blocks."""
    clock = Clock()
    chain = StalledChain(clock)
    for hour in range(90):
        assert not chain.is_stalled(hour * 10_000, 1_000_000)
        clock.seconds += STALLED_SECONDS - 1


def test_a_chain_that_only_grows_slowly_is_stalled() -> None:
    """A test network that was begun anew has new blocks, too."""
    clock = Clock()
    chain = StalledChain(clock)
    found = []
    for block in range(121):
        found.append(chain.is_stalled(block, 50_000))
        clock.seconds += STALLED_SECONDS / 120
    assert found == [False] * 120 + [True]


def test_a_chain_of_more_blocks_with_less_work_is_stalled() -> None:
    """Its blocks are easier, so its growth proves nothing."""
    clock = Clock()
    chain = StalledChain(clock)
    chain.is_stalled(200, 150)
    clock.seconds += STALLED_SECONDS
    assert chain.is_stalled(206, 150)


def test_enough_work_restarts_the_time() -> None:
    clock = Clock()
    chain = StalledChain(clock)
    chain.is_stalled(100, 102)
    clock.seconds += STALLED_SECONDS
    chain.clear()
    assert not chain.is_stalled(100, 102)
