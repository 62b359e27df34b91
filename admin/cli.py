"""The parts that manage.py's commands share: output, errors, and access to settings and database."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
import peewee

from admin.terminal import is_interactive, printable
from config import EX_CONFIG, Settings, SettingsError, load_settings
from daemon.node.errors import BitcoindError, RpcError
from models.db.connection import TRANSIENT_ERRORS, DatabaseError, disconnect, one_line
from models.db.schema import open_database
from models.db.web_role import lacks_right

NO_UNDO = "You cannot undo this."

yes_option = click.option("--yes", is_flag=True, help="Don't wait for a confirmation.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class CommandError(click.ClickException):
    """The command cannot be done. The error is one line on standard error, and the exit status is 1."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line with the prefix that the servers' errors have."""
        click.echo(f"nodetill: {self.message}", file=file, err=file is None)


class WrongSettings(CommandError):
    """The settings are wrong. The error is a line for each setting, and the exit status is 78."""

    exit_code = EX_CONFIG

    def __init__(self, error: SettingsError) -> None:
        super().__init__("; ".join(map(str, error.errors)))
        self._errors = error.errors

    def show(self, file: IO[Any] | None = None) -> None:
        for each in self._errors:
            click.echo(f"nodetill: {each}", file=file, err=file is None)


class Commands(click.Group):
    """The group of all commands. With --json an error is also printed as a JSON document."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and raise its errors. An error of bitcoind becomes a CommandError."""
        wants_json = "--json" in ctx.args
        try:
            _refuse_bytes(ctx.args)
            return self._invoke(ctx)
        except click.ClickException as error:
            if wants_json:
                print_json({"error": error.format_message()})
            raise
        except click.Abort:
            if wants_json:
                print_json({"error": "nothing was done, because you have not confirmed it"})
            raise

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RpcError as error:
            raise CommandError(f"bitcoind refused {error.method}: {error}") from error
        except BitcoindError as error:
            raise CommandError(str(error)) from error


def read_settings() -> Settings:
    """Return the settings of the environment and of the working directory's `.env`. Raise WrongSettings."""
    try:
        return load_settings(os.environ, Path.cwd())
    except SettingsError as error:
        raise WrongSettings(error) from None


def _refuse_bytes(arguments: Sequence[str]) -> None:
    """Raise UsageError for bytes that are not UTF-8. Python decodes them as lone surrogates."""
    if any("\ud800" <= letter <= "\udfff" for each in arguments for letter in each):
        raise click.UsageError("an argument has bytes that are not UTF-8; allowed: text in UTF-8")


def refuse_absent_database(url: str) -> None:
    """Raise CommandError where there is no SQLite file. Opening the database would make an empty one."""
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:") and not path.exists():
        raise CommandError(
            f"there is no database {path}: correct DATABASE_URL, "
            "or run this command in the directory of the servers"
        )


@contextmanager
def open_settings_and_database(*, must_exist: bool = False) -> Iterator[Settings]:
    """Yield the settings with their database open. An error with either one is a CommandError.

    With `must_exist`, refuse an absent SQLite file instead of making it.
    """
    settings = read_settings()
    url = settings.database_url.reveal()
    if must_exist:
        refuse_absent_database(url)
    try:
        open_database(url)
    except DatabaseError as error:
        raise CommandError(str(error)) from error
    with database_errors():
        yield settings


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise CommandError for an error of the open database, and close the connection at the end."""
    try:
        yield
    except TRANSIENT_ERRORS as error:
        raise CommandError(f"the database cannot be used now ({error}); try again") from error
    except peewee.ProgrammingError as error:
        if not lacks_right(error):
            raise
        raise CommandError(
            f"the role that DATABASE_URL names may not do this ({one_line(error)}): "
            "use the daemon's DATABASE_URL"
        ) from error
    except peewee.DatabaseError as error:
        # A damaged file has no class of its own. A subclass, such as IntegrityError, is a fault of Nodetill.
        if type(error) is not peewee.DatabaseError:
            raise
        raise CommandError(
            f"the database cannot be read ({one_line(error)}): run the doctor, or restore a backup"
        ) from error
    finally:
        disconnect()


def confirm(warning: str, question: str, *, is_confirmed: bool, is_for_scripts: bool = False) -> None:
    """Return if the operator confirms, by --yes or by an answer. Otherwise end the command.

    With `is_for_scripts`, no confirmation is needed where there is no terminal.
    """
    if is_confirmed or (is_for_scripts and not is_interactive()):
        return
    if not is_interactive():
        raise CommandError(f"{warning} Nobody can confirm this without a terminal: add --yes to confirm")
    click.echo(warning, err=True)
    click.confirm(question, abort=True, err=True)


def answer(document: Any, text: str, as_json: bool) -> None:
    """Print the document for a program, or the text for a person."""
    if as_json:
        print_json(document)
    else:
        click.echo(text)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2))


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """Return the pairs as lines with aligned values. None is shown as nothing."""
    width = max(len(name) for name, _ in pairs)
    shown = [(name, "" if value is None else printable(value)) for name, value in pairs]
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in shown)
