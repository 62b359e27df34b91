"""The languages that customers' pages speak, each a file of web/translations, and which one a call wants."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

_DIRECTORY = Path(__file__).parent.parent / "translations"
_DEFAULT = "en"
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?"
)
_NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its ISO 639-1 code, its own name for itself, its words, and how it writes numbers.

    A number whose whole part has at least `grouped_from` digits is written in groups of three.
    """

    code: str
    name: str
    decimal_mark: str
    group_mark: str
    grouped_from: int
    words: Mapping[str, str]

    def say(self, key: str, **values: object) -> str:
        """The words of that name, with the values in their places. Plain text: it is not escaped."""
        return self.words[key].format_map(values)

    def amount(self, plain: str, currency: str) -> str:
        """A decimal in plain digits as people write it here: "1234.50" EUR is "1.234,50 EUR" in German."""
        whole, _, decimals = plain.partition(".")
        if len(whole) >= self.grouped_from:
            whole = f"{int(whole):,}".replace(",", self.group_mark)
        number = f"{whole}{self.decimal_mark}{decimals}" if decimals else whole
        return f"{number}{_NO_BREAK_SPACE}{currency}"


def language_for(accept_language: str | None, wanted: str | None = None) -> Language:
    """The language asked for by name, or else the best of an Accept-Language header (RFC 9110, 12.5.4)."""
    known = languages()
    if wanted is not None and wanted in known:
        return known[wanted]
    qualities = _qualities(accept_language or "")
    anything = qualities.get("*", 0.0)
    # The header's order decides between equals, and the default's place is before what "*" stands for.
    order = [*qualities, _DEFAULT, *known]
    best = max(
        (code for code in order if code in known),
        key=lambda code: (qualities.get(code, anything), -order.index(code)),
    )
    return known[best] if qualities.get(best, anything) > 0 else known[_DEFAULT]


@cache
def languages() -> Mapping[str, Language]:
    """All that there are, by code; the default is the first."""
    codes = sorted(
        (path.stem for path in _DIRECTORY.glob("*.toml")), key=lambda code: (code != _DEFAULT, code)
    )
    return MappingProxyType({code: _read(code) for code in codes})


def _read(code: str) -> Language:
    document = tomllib.loads((_DIRECTORY / f"{code}.toml").read_text(encoding="utf-8"))
    numbers: dict[str, Any] = document.pop("numbers")
    name: str = document.pop("name")
    return Language(
        code, name, numbers["decimal"], numbers["group"], numbers["grouped_from"], _flat(document)
    )


def _flat(document: Mapping[str, Any]) -> Mapping[str, str]:
    """The words of a table go by both names: `headline` under [new] is "new.headline"."""
    words: dict[str, str] = {}
    for key, value in document.items():
        words |= {f"{key}.{inner}": text for inner, text in value.items()}
    return MappingProxyType(words)


def _qualities(accept_language: str) -> dict[str, float]:
    """The weight of each primary subtag: of de-CH and de-AT the higher. What can't be read is left out."""
    found: dict[str, float] = {}
    for part in accept_language.split(","):
        if match := _RANGE.fullmatch(part):
            code, quality = match[1].lower(), float(match[2] or 1)
            found[code] = max(found.get(code, 0.0), quality)
    return found
