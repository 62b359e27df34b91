"""Arguments of manage.py that have one of the settings' types."""

from typing import Any

import click

from config.types import InvalidValue, SettingType


class Checked(click.ParamType[str]):
    """A parameter with one of the settings' types. No error quotes a `hidden` value: it may be a password."""

    def __init__(self, name: str, type_: SettingType[str], *, hidden: bool = False) -> None:
        self.name = name
        self._type = type_
        self._hidden = hidden

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text. End the command with exit status 2 where the text is not of this type."""
        try:
            if not value.isprintable():
                raise InvalidValue("has control characters")
            return self._type.read(value)
        except InvalidValue as wrong:
            shown = "the value" if self._hidden else ascii(value[:80])
            self.fail(f"{shown} {wrong}; allowed: {self._type.allowed}", param, ctx)
