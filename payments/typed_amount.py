"""Amounts as people type them: 12.50 or 12,50, with or without marks between groups of three digits."""

import re
from decimal import Decimal

from payments.money import AmountError, read_amount

MAX_TYPED_CHARACTERS = 40

_SPACES = re.compile(r"[\s'’]+")
_ONE_GROUP = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")
_GROUPED = re.compile(r"[0-9]{1,3}([.,])[0-9]{3}(\1[0-9]{3})*|[0-9]*")


def read_typed_amount(text: str, currency: str, decimal_mark: str) -> Decimal:
    """Return the amount that a person typed. `decimal_mark` is that of the person's language.

    A single mark before exactly three digits groups them, unless it is `decimal_mark`. Raise AmountError.
    """
    typed = _SPACES.sub("", text)
    if not typed or len(typed) > MAX_TYPED_CHARACTERS:
        raise AmountError("must be a number such as 12.50")
    mark = _decimal_mark_in(typed, decimal_mark)
    whole, _, decimals = (typed, "", "") if mark is None else typed.rpartition(mark)
    if not _GROUPED.fullmatch(whole) or (mark is not None and mark in whole):
        raise AmountError("must be a number such as 12.50")
    digits = re.sub("[.,]", "", whole) or "0"
    return read_amount(f"{digits}.{decimals}" if decimals else digits, currency)


def with_point(text: str) -> str:
    """Return an amount with a point in the place of a decimal comma, such as 12.50 for 12,50.

    Raise AmountError for 1,000, which is a thousand to some people, and one to others.
    """
    if "," in text and _ONE_GROUP.fullmatch(text):
        raise AmountError("is ambiguous: type a thousand as 1000, and one as 1")
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def _decimal_mark_in(typed: str, decimal_mark: str) -> str | None:
    """Return the mark before the decimals, or None without decimals."""
    marks: list[str] = re.findall("[.,]", typed)
    if not marks:
        return None
    if len(set(marks)) == 2:
        return marks[-1]
    if len(marks) > 1:
        return None
    is_group = marks[0] != decimal_mark and _ONE_GROUP.fullmatch(typed)
    return None if is_group else marks[0]
