"""`manage.py database backup` and `retire-pool`: a copy of the database, and the step after a restore."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import apsw
import click

from admin.cli import CommandError, answer, json_option, open_settings_and_database
from models.address import retire_free
from models.db.connection import database, is_sqlite
from models.db.sqlite import copy_to

MAX_SKIPPED = 1_000_000


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def backup(path: Path, as_json: bool) -> None:
    """Copy the SQLite database to PATH while the servers work.

    \b
    manage.py database backup /var/backups/nodetill.db

    The copy has the state of one moment, and is checked. Don't use Debian's own sqlite3 instead, because
    SQLite before 3.51.3 can corrupt a database that other processes write to. For PostgreSQL use pg_dump.
    """
    with open_settings_and_database(must_exist=True):
        if not is_sqlite():
            raise CommandError("this database is PostgreSQL: back it up by pg_dump --format=custom")
        size_bytes = _copy_checked(path)
    answer(
        {"backup": str(path), "size_bytes": size_bytes}, f"{path}: {size_bytes} bytes, and checked.", as_json
    )


@click.command("retire-pool")
@click.option(
    "--skip",
    type=click.IntRange(0, MAX_SKIPPED),
    default=0,
    metavar="N",
    help="Descriptors: skip so many more addresses.",
)
@json_option
def retire_pool(skip: int, as_json: bool) -> None:
    """After a restore: discard the unused addresses.

    \b
    manage.py database retire-pool
    manage.py database retire-pool --skip 5000

    Customers may have got these addresses since the backup. The daemon makes new ones. For a wallet with a
    descriptor the daemon starts after the 1,000 addresses that it watches beyond the pool. If more requests
    may have been made since the backup, give their number by --skip.
    """
    with open_settings_and_database(must_exist=True), database.atomic():
        retired = retire_free(datetime.now(UTC), skip)
    answer({"retired": retired}, f"{retired} addresses are retired: no customer gets them.", as_json)


def _copy_checked(path: Path) -> int:
    """Write and check the copy, and return its size in bytes. Raise CommandError, and leave no file then."""
    if os.path.lexists(path):
        raise _is_there(path)
    part = path.with_name(f"{path.name}.part")
    try:
        # O_EXCL replaces no file, and mode 0600 lets no other user read the copy at any moment.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        raise CommandError(
            f"{part} is there already: if no other backup runs, remove this file and try again"
        ) from error
    except OSError as error:
        raise CommandError(f"cannot write {part}: {error.strerror}") from error
    try:
        found = copy_to(part, database.connection())
        if found != "ok":
            raise _is_damaged(found)
        _sync(part)
        _name_copy(part, path)
    except FileExistsError as error:
        raise _is_there(path) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise _is_damaged(str(error)) from error
    except (apsw.Error, OSError) as error:
        raise CommandError(f"cannot write {path}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size


def _name_copy(part: Path, path: Path) -> None:
    """Give the finished copy its name. Raise FileExistsError where the name is taken, or another OSError."""
    try:
        # link() refuses where rename() would replace.
        os.link(part, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
        # FAT and some network drives have no links. An empty file takes the name first.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            part.replace(path)
        except OSError:
            path.unlink()
            raise


def _is_damaged(found: str) -> CommandError:
    return CommandError(
        f"the copy is damaged ({found}): the database has a fault, or the disk of the copy has"
    )


def _is_there(path: Path) -> CommandError:
    return CommandError(f"{path} is there already: choose another name")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
