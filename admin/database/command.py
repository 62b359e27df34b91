"""`manage.py database copy`: the move of an installation from one database to another."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click
import peewee
from click.core import ParameterSource

from admin.cli import CommandError, answer, json_option, read_settings, refuse_absent_database
from admin.database.copy import RowMismatch, compare_rows, copy_rows, row_counts, write_locked
from admin.terminal import table
from config.addresses import database_url
from config.types import InvalidValue
from models.daemon_status import daemon_report, update_report
from models.db.connection import DatabaseError, disconnect, one_line
from models.db.leadership import DaemonEpoch
from models.db.lock import database_lock
from models.db.schema import open_database
from models.db.witness import is_original, renewed_mark
from models.wallet import Wallet

_ROWS_OF_NEW = {DaemonEpoch._meta.table_name: 1, Wallet._meta.table_name: 1}
"""The rows of a new database, by table."""


@click.group()
def database() -> None:
    """Back up, copy or move the database.

    \b
    manage.py database backup till.db
    manage.py database copy --to postgresql://nodetill@db.example.com/nodetill
    """


@database.command()
@click.option("--to", "url", envvar="DATABASE_COPY_TO", metavar="URL", help="The new DATABASE_URL.")
@click.option(
    "--to-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the new DATABASE_URL, which keeps its password off the command line.",
)
@json_option
def copy(url: str | None, to_file: Path | None, as_json: bool) -> None:
    """Copy all rows into another, empty database, and check them.

    \b
    createdb nodetill
    systemctl stop nodetill-web nodetill-daemon
    manage.py database copy --to postgresql://nodetill@db.example.com/nodetill

    Then set DATABASE_URL in .env, and start both servers again:

    \b
    DATABASE_URL=postgresql://nodetill@db.example.com/nodetill

    The copy goes from SQLite to PostgreSQL, or back. Stop both servers first, because rows that they store
    later stay in the old database. The old database is not changed. After an error the new database is as
    empty as before.
    A password on the command line is refused. Put it into a file for --to-file, into the environment
    variable DATABASE_COPY_TO or PGPASSWORD, or into ~/.pgpass.
    """
    is_typed = click.get_current_context().get_parameter_source("url") is ParameterSource.COMMANDLINE
    if is_typed and _has_password(url or ""):
        raise click.UsageError(
            "--to has a password in it, and every user can read a command line: write the URL into a file "
            "and name that by --to-file, or set the environment variable DATABASE_COPY_TO"
        )
    source_url = read_settings().database_url.reveal()
    refuse_absent_database(source_url)
    target_url = _target(url, to_file)
    if target_url == source_url:
        raise CommandError("the new database is the old one: DATABASE_URL names it already")
    try:
        counts = _copy(source_url, target_url)
    except (DatabaseError, RowMismatch) as error:
        raise CommandError(f"nothing was copied: {error}") from error
    except (peewee.DatabaseError, peewee.InterfaceError) as error:
        raise CommandError(f"nothing was copied: {one_line(error)}") from error
    finally:
        disconnect()
    rows = sum(counts.values())
    text = (
        f"{rows} rows are copied, and each is compared. Now set DATABASE_URL to the new database, and start "
        "both servers."
    )
    listed = table(("TABLE", "ROWS"), list(counts.items()))
    answer({"copied": counts, "rows": rows}, f"{listed}\n{text}", as_json)


def _has_password(url: str) -> bool:
    """Return whether the URL has a password before its host or among its options."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # database_url() refuses such a URL later.
        return False
    names = [name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return parts.password is not None or any("password" in name for name in names)


def _target(url: str | None, to_file: Path | None) -> str:
    """Return the new DATABASE_URL. Raise UsageError, without the URL's text, which may hold a password."""
    if (url is None) == (to_file is None):
        raise click.UsageError("name the new database by --to or by --to-file")
    try:
        text = url if to_file is None else to_file.read_text(encoding="utf-8").strip()
        return database_url().read(text or "").reveal()
    except InvalidValue as wrong:
        raise click.UsageError(f"the new database {wrong}; allowed: {database_url().allowed}") from wrong
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--to-file {to_file}: cannot be read") from error


def _copy(source_url: str, target_url: str) -> dict[str, int]:
    """Copy and compare all rows. Return the number of rows by table. Raise DatabaseError or RowMismatch."""
    with ExitStack() as stack:
        refusal = "the daemon works on the old database: stop both servers first"
        source = stack.enter_context(_opened_alone(source_url, refusal))
        stack.enter_context(write_locked(source))
        mark = daemon_report().witness
        is_moved = mark is not None and is_original(mark)
        counts = row_counts(source)
        target = stack.enter_context(_opened_alone(target_url, "a daemon works on the new database"))
        stack.enter_context(write_locked(target))
        if any(rows > _ROWS_OF_NEW.get(name, 0) for name, rows in row_counts(target).items()):
            raise DatabaseError("the new database has rows already; the copy needs an empty database")
        with _progress("copying", counts) as advance:
            copy_rows(source, target, advance)
        with _progress("checking", counts) as advance:
            compare_rows(source, target, advance)
        if is_moved:
            # Otherwise the daemon would take the new database for an older copy.
            update_report(witness=renewed_mark(None))
    return counts


@contextmanager
def _opened_alone(url: str, refusal: str) -> Iterator[peewee.Database]:
    """Yield the database, migrated and with the daemon's lock held. Raise DatabaseError with `refusal`."""
    opened = open_database(url)
    lock = database_lock("daemon")
    try:
        if not lock.acquire():
            raise DatabaseError(refusal)
        yield opened
    finally:
        lock.release()
        opened.close()


@contextmanager
def _progress(label: str, counts: dict[str, int]) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances a progress bar. The bar is hidden where there is no terminal."""
    hidden = not sys.stderr.isatty()
    bar: Any
    with click.progressbar(length=sum(counts.values()), label=label, file=sys.stderr, hidden=hidden) as bar:
        yield bar.update
        bar.update(bar.length - bar.pos)
