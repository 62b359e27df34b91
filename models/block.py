"""The newest blocks of the active chain, as far as they have been read."""

import peewee

from models.database import MomentField, Table

BLOCKS_KEPT = 2016
"""How far back a common ancestor can be found: two weeks, a difficulty period."""


class Block(Table):
    """A block of the active chain. `chainwork` is 64 hex digits, so it compares as text."""

    height = peewee.IntegerField(primary_key=True)
    hash = peewee.CharField(max_length=64, unique=True)
    chainwork = peewee.CharField(max_length=64)
    mined_at = MomentField()


def stored_tip() -> Block | None:
    """The highest block that has been read; None in a new database."""
    tip: Block | None = Block.select().order_by(Block.height.desc()).first()
    return tip


def block_at(height: int) -> Block | None:
    """The stored block of this height."""
    return Block.get_or_none(Block.height == height)


def forget_old_blocks(tip_height: int) -> None:
    """Keep the newest BLOCKS_KEPT."""
    Block.delete().where(Block.height <= tip_height - BLOCKS_KEPT).execute()
