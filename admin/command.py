"""What manage.py's commands share: how they answer, how they refuse, and how they reach the database."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import click
import peewee

from config import Settings, settings_or_exit
from models.database import DatabaseError, disconnect
from models.schema import open_database

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class Refused(click.ClickException):
    """What was asked can't be done: one line on standard error, and exit status 1."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def show(self, file: IO[Any] | None = None) -> None:
        """Begins as the servers' own lines do."""
        click.echo(f"nodetill: {self.message}", file=file, err=file is None)


@contextmanager
def open_settings_and_database() -> Iterator[Settings]:
    """The settings, with their database open. Trouble with either ends the command with one line."""
    settings = settings_or_exit()
    try:
        open_database(settings.database_url.reveal())
    except DatabaseError as error:
        raise Refused(str(error)) from error
    try:
        yield settings
    except (peewee.OperationalError, peewee.InterfaceError) as error:
        raise Refused(f"the database cannot be used now ({error}); try again") from error
    finally:
        disconnect()


def answer(document: Any, text: str, as_json: bool) -> None:
    """Print the document for a program, or the text for a person."""
    click.echo(json.dumps(document, indent=2) if as_json else text)


def printable(text: object) -> str:
    """On one line, and without what a terminal would act on: notes come from shops' customers."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as what is in them."""
    cells = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(lines)


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """One fact a line, the values below each other; None is nothing."""
    width = max(len(name) for name, _ in pairs)
    shown = [(name, "" if value is None else printable(value)) for name, value in pairs]
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in shown)
