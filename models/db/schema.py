"""The schema's version: migrations run in order, once each, by one process at a time."""

from pathlib import Path

import peewee
from playhouse.migrations import Runner

from models.db.connection import DatabaseError, bind, one_line
from models.db.lock import database_lock

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def open_database(url: str) -> peewee.Database:
    """Connect to the database at `url` and bring its schema up to date.

    Raises DatabaseError where that can't be done, or where a newer Nodetill has already changed the schema.
    """
    target = bind(url)
    lock = database_lock("migrate")
    try:
        # Before the first connection: of two that switch a new SQLite file to WAL at once, one fails at once.
        lock.acquire(wait=True)
        target.connect()
        migrate(target)
    except (peewee.DatabaseError, OSError) as error:
        raise DatabaseError(f"cannot open the database: {one_line(error)}") from error
    finally:
        lock.release()
    return target


def migrate(target: peewee.Database) -> None:
    """Run the migrations that this database has not had yet. Raises DatabaseError."""
    if pending_migrations(target):
        try:
            _runner(target).up()
        except peewee.DatabaseError as error:
            raise DatabaseError(f"cannot bring the database up to date: {one_line(error)}") from error


def pending_migrations(target: peewee.Database) -> list[str]:
    """The migrations that this database has not had yet; looks, and changes nothing.

    Raises DatabaseError where a newer Nodetill has changed it.
    """
    migrations = _runner(target).status()
    unknown = [row.name for row in migrations if row.path is None]
    if unknown:
        raise DatabaseError(
            f"the database was changed by a newer Nodetill (migration {unknown[-1]}); "
            "run that version, or restore the backup made before the upgrade"
        )
    return [row.name for row in migrations if row.applied is None]


def _runner(target: peewee.Database) -> Runner:
    return Runner(target, directory=str(MIGRATIONS), table_name="schema_migration")
