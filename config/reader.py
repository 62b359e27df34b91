"""Read settings from the environment, `.env` and secret files, and check them. settings.py has the table.

This module replaces pydantic-settings for three reasons. pydantic-settings reads $ in `.env` as a reference,
and skips lines that it can't read. Its memory would exceed the daemon's limit.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from config.file_permissions import may_others_write
from config.types import InvalidValue, SettingType

ENVIRONMENT, ENV_FILE, FILE, DEFAULT = "environment", ".env", "file", "default"
MAX_CHARACTERS = 65_536  # characters, of a value and of its file, so that even /dev/zero does no harm


def setting(
    default: str, type_: SettingType[Any], meaning: str, *, name: str = "", hidden: bool = False
) -> Any:
    """Return a row of the table. `default` is text, or "" for none. No error quotes a `hidden` value.

    `name` is the variable's name where that differs from the attribute's name in upper case.
    """
    return field(
        metadata={"default": default, "type": type_, "meaning": meaning, "name": name, "hidden": hidden}
    )


class SettingError(ValueError):
    """A variable is wrong. The text has the allowed values, and `example`, a value that works."""

    def __init__(self, variable: str, problem: str, allowed: str, example: str = "") -> None:
        self.example = example
        shown = f"; for example {variable}={example}" if example else ""
        super().__init__(f"{variable}: {problem}; allowed: {allowed}{shown}")


class SettingsError(ValueError):
    """The settings are wrong. `errors` has the error of each variable, and none of them holds a secret."""

    def __init__(self, errors: list[SettingError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True)
class Origin:
    """The text of a setting, and its source. With the source FILE, `path` is the file."""

    text: str
    source: str
    path: str | None = None


def variable_name(row: Field[Any]) -> str:
    return row.metadata["name"] or row.name.upper()


def read_values(
    rows: Iterable[Field[Any]], environ: Mapping[str, str], directory: Path
) -> tuple[dict[str, Any], list[SettingError]]:
    """Return the values by attribute, None for an unset one without a default, and all errors."""
    rows = list(rows)
    in_file, errors = _env_file(directory / ".env")
    for name, meant in near_names(in_file, rows):
        errors.append(SettingError(name, "is not a setting", meant))
    values: dict[str, Any] = {}
    sources = {ENVIRONMENT: environ, ENV_FILE: in_file}
    for row in rows:
        try:
            values[row.name] = _value(row, _origin(row, sources, directory).text)
        except SettingError as error:
            errors.append(error)
    return values, errors


def origins(rows: Iterable[Field[Any]], environ: Mapping[str, str], directory: Path) -> dict[str, Origin]:
    """Return the origins of settings without an error, by attribute."""
    sources = {ENVIRONMENT: environ, ENV_FILE: _env_file(directory / ".env")[0]}
    return {row.name: _origin(row, sources, directory) for row in rows}


def _value(row: Field[Any], text: str) -> Any:
    name, type_ = variable_name(row), row.metadata["type"]
    if not text:
        return None
    try:
        if len(text) > MAX_CHARACTERS:
            raise InvalidValue("is far too long")
        # This check also refuses bytes that are not UTF-8, because Python decodes them as lone surrogates.
        if not text.isprintable():
            raise InvalidValue("has characters that can't be printed, such as the end of a line")
        return type_.read(text)
    except InvalidValue as wrong:
        shown = "the value" if row.metadata["hidden"] else ascii(text[:80])
        example = type_.example or row.metadata["default"]
        raise SettingError(name, f"{shown} {wrong}", type_.allowed, example) from None


def _origin(row: Field[Any], sources: Mapping[str, Mapping[str, str]], directory: Path) -> Origin:
    """Return the variable's text from the first source that has it, or else its default."""
    name = variable_name(row)
    for source, variables in sources.items():
        text, path = variables.get(name, ""), variables.get(f"{name}_FILE", "")
        if text and path:
            raise SettingError(name, f"is set beside {name}_FILE", "one of the two")
        if path:
            return Origin(_content(f"{name}_FILE", directory / path), FILE, path)
        if text:
            return Origin(text, source)
    return Origin(row.metadata["default"], DEFAULT)


def _content(variable: str, path: Path) -> str:
    allowed = "the path of a readable file with the value in it"
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 2).removesuffix("\n")
    except (OSError, ValueError) as error:
        raise SettingError(variable, f"{str(path)!a} can't be read ({_reason(error)})", allowed) from None
    if not text:
        raise SettingError(variable, f"{str(path)!a} is empty", allowed)
    return text


def _env_file(path: Path) -> tuple[dict[str, str], list[SettingError]]:
    """Return the file's variables, and an error for each line that can't be read."""
    values: dict[str, str] = {}
    errors: list[SettingError] = []
    allowed = "lines of NAME=value, in UTF-8, such as CONFIRMATIONS=6"
    try:
        if may_others_write(path):
            allowed = f"a file of your own that nobody else can write (chmod go-w {path})"
            return {}, [SettingError(".env", "can be written by other users, so it is not trusted", allowed)]
        with path.open(encoding="utf-8-sig") as file:
            for binding in parse_stream(file):
                if binding.error or (binding.key and binding.value is None):
                    errors.append(
                        SettingError(".env", f"line {binding.original.line} is not NAME=value", allowed)
                    )
                elif binding.key:
                    values[binding.key] = binding.value or ""
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as error:
        errors.append(SettingError(".env", f"can't be read ({_reason(error)})", allowed))
    return values, errors


def _reason(error: OSError | ValueError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "not UTF-8 text"


def near_names(names: Iterable[str], rows: Iterable[Field[Any]]) -> Iterator[tuple[str, str]]:
    """Yield each name that is no setting but almost a setting's name, with the setting's name."""
    settings = [variable_name(row) for row in rows]
    known = [*settings, *(f"{name}_FILE" for name in settings)]
    for name in names:
        nearest = get_close_matches(name.upper(), known, n=1, cutoff=0.85)
        if name not in known and nearest:
            yield ascii(name).strip("'"), nearest[0]
