"""Databases that have all tables from the start, because the migrations take longer than many tests."""

import os
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import peewee

from models.db.connection import database, disconnect
from models.db.files import open_private
from models.db.schema import open_database


def _store_nothing() -> None:
    pass


def open_prepared(url: str, fill: Callable[..., None] = _store_nothing, *arguments: Any) -> peewee.Database:
    """Open a database as `open_database` does, and call `fill` with these arguments. It stores rows.

    A missing SQLite file becomes a copy of a migrated and filled one. Its rows are the same in each copy.
    """
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:") and not path.exists():
        os.close(open_private(path))
        path.write_bytes(_prepared_file(fill, *arguments))
        return open_database(url)
    opened = open_database(url)
    fill(*arguments)
    return opened


def migrate_aside(url: str, fill: Callable[[], None] = _store_nothing) -> None:
    """Create the tables of another database, and fill it, while the open database stays open."""
    before = database.obj
    try:
        open_database(url)
        fill()
        disconnect()
    finally:
        database.initialize(before)


@cache
def _prepared_file(fill: Callable[..., None], *arguments: Any) -> bytes:
    """Return the file of a SQLite database with all tables, and with the rows that `fill` stores."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "nodetill.db"
        migrate_aside(f"sqlite:///{path}", partial(fill, *arguments))
        return path.read_bytes()
