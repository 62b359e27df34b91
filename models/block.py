"""The newest blocks of the active chain that the daemon has read."""

from collections.abc import Iterable

import peewee

from models.db.connection import Table, UtcDateTimeField, execute_many, fetch_one

BLOCKS_KEPT = 2016
"""The depth to which a reorg's common ancestor can be found. It is one difficulty period, about two weeks."""


class Block(Table):
    """A block of the active chain. `chainwork` is 64 hex digits, so it compares as text."""

    height = peewee.IntegerField(primary_key=True)
    hash = peewee.CharField(max_length=64, unique=True)
    chainwork = peewee.CharField(max_length=64)
    mined_at = UtcDateTimeField()


def stored_tip() -> Block | None:
    """Return the highest block that has been read, or None in a new database."""
    return fetch_one(Block, "SELECT * FROM block ORDER BY height DESC LIMIT 1")


def oldest_block() -> Block | None:
    """Return the lowest block that is kept, or None in a new database."""
    return fetch_one(Block, "SELECT * FROM block ORDER BY height LIMIT 1")


def block_at(height: int) -> Block | None:
    """Return the stored block of this height, or None."""
    return fetch_one(Block, "SELECT * FROM block WHERE height = ?", height)


def add_blocks(blocks: Iterable[Block]) -> None:
    """Store new blocks above the highest. Raise IntegrityError if one of their heights is stored already."""
    to_stored = Block.mined_at.db_value
    values = [(block.height, block.hash, block.chainwork, to_stored(block.mined_at)) for block in blocks]
    execute_many("INSERT INTO block (height, hash, chainwork, mined_at) VALUES (?, ?, ?, ?)", values)


def forget_old_blocks(tip_height: int) -> None:
    """Delete all blocks except the newest BLOCKS_KEPT."""
    Block.delete().where(Block.height <= tip_height - BLOCKS_KEPT).execute()
