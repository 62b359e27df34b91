"""Languages of the customers' pages. Each language is a file in web/translations."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from payments.money import format_btc

_DIRECTORY = Path(__file__).parent.parent / "translations"
_DEFAULT = "en"
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?"
)
_NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its ISO 639-1 code, its own name, its texts, and its number format.

    A number has groups of three digits if its whole part has at least `grouped_from` digits.
    """

    code: str
    name: str
    decimal_mark: str
    group_mark: str
    grouped_from: int
    words: Mapping[str, str]

    def say(self, key: str, **values: object) -> str:
        """Return the text of that name with the values filled in. The text is not escaped for HTML."""
        return self.words[key].format_map(values)

    def amount(self, plain: str, currency: str) -> str:
        """Format an amount from plain digits. German has "1.234,50 EUR" for "1234.50" and EUR."""
        whole, _, decimals = plain.partition(".")
        if len(whole) >= self.grouped_from:
            whole = f"{int(whole):,}".replace(",", self.group_mark)
        number = f"{whole}{self.decimal_mark}{decimals}" if decimals else whole
        return f"{number}{_NO_BREAK_SPACE}{currency}"


def bitcoin(amount_sats: int) -> str:
    """Format an amount in bitcoin, in the same form for all languages."""
    return f"{format_btc(amount_sats)}{_NO_BREAK_SPACE}BTC"


def language_for(accept_language: str | None, *wanted: str | None) -> Language:
    """Return the first known language of `wanted`, or the best of Accept-Language (RFC 9110, 12.5.4).

    Shops name a language with a region too, such as de-DE. The language alone counts.
    """
    known = languages()
    for tag in wanted:
        code = re.split("[-_]", tag or "")[0].lower()
        if code in known:
            return known[code]
    qualities = _qualities(accept_language or "")
    anything = qualities.get("*", 0.0)
    # Between equal weights, the header's order decides. For "*", the default language is first.
    order = [*qualities, _DEFAULT, *known]
    best = max(
        (code for code in order if code in known),
        key=lambda code: (qualities.get(code, anything), -order.index(code)),
    )
    return known[best] if qualities.get(best, anything) > 0 else known[_DEFAULT]


@cache
def languages() -> Mapping[str, Language]:
    """Return all languages by their codes. The default language is the first."""
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
    """Join the names of tables and keys. `headline` under [new] becomes "new.headline"."""
    words: dict[str, str] = {}
    for key, value in document.items():
        words |= {f"{key}.{inner}": text for inner, text in value.items()}
    return MappingProxyType(words)


def _qualities(accept_language: str) -> dict[str, float]:
    """Return the weight of each primary subtag. For de-CH and de-AT together, the higher weight counts.

    Invalid parts of the header have no effect.
    """
    found: dict[str, float] = {}
    for part in accept_language.split(","):
        if match := _RANGE.fullmatch(part):
            code, quality = match[1].lower(), float(match[2] or 1)
            found[code] = max(found.get(code, 0.0), quality)
    return found
