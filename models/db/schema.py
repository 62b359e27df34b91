"""The migrations of the schema. Each migration runs once, in order, in one process at a time."""

from pathlib import Path

import peewee
from playhouse.migrations import Runner

from models.db.connection import DatabaseError, bind, is_sqlite, one_line
from models.db.lock import database_lock
from models.db.web_role import HOW_TO_GRANT, lacks_right, may_change_schema, renew_web_rights

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def open_database(url: str) -> peewee.Database:
    """Connect to the database at `url`, and bring its schema up to date.

    Raise DatabaseError if this fails, or if a newer Nodetill has already changed the schema.
    """
    target = bind(url)
    lock = database_lock("migrate")
    try:
        # The lock comes before the connection. If two processes switch a new SQLite file to WAL together, one
        # of them fails.
        lock.acquire(wait=True)
        target.connect()
        migrate(target)
    except (peewee.DatabaseError, OSError) as error:
        if lacks_right(error):
            raise DatabaseError(f"{one_line(error)}: {HOW_TO_GRANT}") from error
        raise DatabaseError(f"cannot open the database: {one_line(error)}") from error
    finally:
        lock.release()
    return target


def migrate(target: peewee.Database) -> None:
    """Run the pending migrations, and grant the web server's role its rights.

    Raise DatabaseError if a migration fails, or if this role may not change the tables.
    """
    if pending_migrations(target):
        if not may_change_schema():
            raise DatabaseError(
                "the database is not up to date, and the role that DATABASE_URL names may not change its "
                "tables: start the daemon first, whose role owns them"
            )
        try:
            _runner(target).up()
            if not is_sqlite():
                renew_web_rights()
        except peewee.DatabaseError as error:
            raise DatabaseError(f"cannot bring the database up to date: {one_line(error)}") from error


def pending_migrations(target: peewee.Database) -> list[str]:
    """Return the migrations that have not run on this database. Change nothing.

    Raise DatabaseError if a newer Nodetill has changed the schema.
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
