"""`manage.py settings`: the settings in force, and where each of them comes from."""

import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from admin.cli import answer, json_option, read_settings
from admin.terminal import table
from config import Settings, variable_name
from config.reader import DEFAULT, Origin, origins


@click.command()
@json_option
def settings(as_json: bool) -> None:
    """Print the settings in force and their sources.

    The source is the environment, .env, a file that NAME_FILE names, or the default. A secret that is not the
    default is shown as "set". The servers may have another environment and another directory: run
    this command with theirs.

    \b
    manage.py settings
    manage.py settings --json
    """
    found = list(_documents(read_settings()))
    rows = [(each["name"], each["file"] or each["source"], _shown(each)) for each in found]
    answer(found, table(("SETTING", "SOURCE", "VALUE"), rows), as_json)


def _documents(in_force: Settings) -> Iterator[dict[str, Any]]:
    by_name = origins(fields(Settings), os.environ, Path.cwd())
    for row in fields(Settings):
        origin = by_name[row.name]
        is_secret = bool(row.metadata["hidden"]) and origin.source != DEFAULT
        yield {
            "name": variable_name(row),
            "value": None if is_secret else _value(getattr(in_force, row.name), origin),
            "source": origin.source,
            "file": origin.path,
            "is_secret": is_secret,
        }


def _value(in_force: object, origin: Origin) -> str | None:
    """Return the value in force as text. A setting without a value may follow from another setting."""
    is_plain = isinstance(in_force, str | Path) or type(in_force) is int
    return str(in_force) if is_plain else origin.text or None


def _shown(found: dict[str, Any]) -> str:
    if found["is_secret"]:
        return "set"
    return "unset" if found["value"] is None else str(found["value"])
