"""Databases that have all tables from the start, because the migrations take longer than many tests."""

import os
import tempfile
from functools import cache
from pathlib import Path

import peewee

from models.db.connection import database, disconnect
from models.db.files import open_private
from models.db.schema import open_database


def open_prepared(url: str) -> peewee.Database:
    """Open a database as `open_database` does. A missing SQLite file becomes a copy of a migrated one."""
    if url.startswith("sqlite:"):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.exists():
            os.close(open_private(path))
            path.write_bytes(_migrated_file())
    return open_database(url)


def migrate_aside(url: str) -> None:
    """Create the tables of another database, while the open database stays open."""
    before = database.obj
    try:
        open_database(url)
        disconnect()
    finally:
        database.initialize(before)


@cache
def _migrated_file() -> bytes:
    """Return the file of a SQLite database with all tables and no rows."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "nodetill.db"
        migrate_aside(f"sqlite:///{path}")
        return path.read_bytes()
