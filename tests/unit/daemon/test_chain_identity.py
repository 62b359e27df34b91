"""A database belongs to one network. Two signets have the same name and the same genesis block."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from daemon.node.checks import MIN_HEIGHT, WrongChain, check_chain
from daemon.node.types import NodeTip
from models.daemon_status import daemon_report, known_network, update_report
from models.db.connection import disconnect
from payments.network import PUBLIC_CHALLENGE, PUBLIC_FIRST_BLOCK
from tests.support.prepared_database import open_prepared

pytestmark = pytest.mark.one_database

OWN, OTHER = "51", "52" * 200
FIRST_BLOCK = "00" * 31 + "ab"


@pytest.fixture(autouse=True)
def open_tables(database_url: str) -> Iterator[None]:
    """Open an empty database."""
    open_prepared(database_url)
    yield
    disconnect()


def check(
    challenge: str | None, *, chain: str = "signet", height: int = 0, first_block: str | None = None
) -> None:
    """Check a node with this tip, whose block 1 is `first_block`."""

    class Node:
        def block_hash(self, _: int) -> str | None:
            return first_block

        def header(self, _: str) -> None:
            return None

    at = datetime(2026, 1, 1, tzinfo=UTC)
    tip = NodeTip(chain, "aa" * 32, height, height, "00" * 32, at, 0, False, challenge)
    check_chain(cast(Any, Node()), tip)


@pytest.mark.parametrize("chain", ["main", "test", "testnet4", "regtest"])
def test_another_chain_has_bitcoind_s_name(chain: str) -> None:
    check(None, chain=chain)
    assert known_network() == chain
    with pytest.raises(WrongChain, match=f"on chain signet, but this database belongs to {chain}"):
        check(PUBLIC_CHALLENGE)


def test_a_signet_is_public_or_custom_by_its_challenge() -> None:
    check(PUBLIC_CHALLENGE)
    assert known_network() == "signet"
    with pytest.raises(WrongChain, match="the signet with the challenge 51, but this database"):
        check(OWN)
    assert known_network() == "signet"


def test_two_custom_signets_differ_from_the_genesis_block_on() -> None:
    """The line shows the beginning of a long challenge."""
    check(OWN)
    assert known_network() == "custom-signet"
    check(OWN, height=5)
    with pytest.raises(WrongChain, match=f"challenge {'52' * 12}…, but this database belongs to the signet"):
        check(OTHER)


def test_without_a_challenge_block_1_shows_the_signet() -> None:
    """Bitcoin Core 28 returns no challenge. At the genesis block the network is not known yet."""
    check(None)
    assert known_network() == "signet"
    check(None, height=1, first_block=PUBLIC_FIRST_BLOCK)
    assert known_network() == "signet"
    check(None, height=1, first_block=FIRST_BLOCK)
    assert known_network() == "custom-signet"


def test_a_database_of_an_earlier_version_gets_its_network() -> None:
    """It has the name signet alone, also for a custom signet."""
    update_report(chain="signet", first_block=FIRST_BLOCK)
    check(OWN, height=MIN_HEIGHT, first_block=FIRST_BLOCK)
    report = daemon_report()
    assert (report.chain, report.network, report.signet_challenge) == ("signet", "custom-signet", OWN)
    with pytest.raises(WrongChain, match="follows another signet chain"):
        check(OWN, height=MIN_HEIGHT, first_block="cd" * 32)


def test_a_challenge_stays_known_where_an_older_bitcoind_follows() -> None:
    check(OWN)
    check(None, height=1, first_block=FIRST_BLOCK)
    with pytest.raises(WrongChain, match="the signet with the challenge"):
        check(OTHER)
