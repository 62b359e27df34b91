"""The layout of the operator's emails, as text and as HTML, and the treatment of texts from strangers."""

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from daemon.delivery.advice import Advice

MAX_SUBJECT_CHARACTERS = 120
"""The limit of a subject. Only names and notes are cut to keep the subject within it."""

_WIDTH = 76
_MARGIN = 14
_CODE = re.compile(r"`([^`]+)`")
# The text has the reader's own colour, so it is readable on a dark background too.
_BODY = "max-width: 38em; margin: 0 auto; padding: 16px; font: 15px/1.5 system-ui, sans-serif;"
_CELL = "padding: 6px 0; vertical-align: top; border-top: 1px solid rgba(128, 128, 128, 0.3);"
_LABEL = (
    f"{_CELL} padding-right: 16px; text-align: left; font-weight: normal; white-space: nowrap; opacity: 0.7;"
)
_BAND = (
    "margin: 0 0 16px; padding: 6px 12px; border-radius: 8px; background: #85480a; color: #ffffff; "
    "font-size: 14px; font-weight: 600; text-align: center; text-wrap: balance;"
)
_BUTTON = (
    "display: inline-block; padding: 10px 18px; border-radius: 8px; background: #155e48; color: #ffffff; "
    "font-weight: 600; text-decoration: none;"
)
_VALUE = f"{_CELL} overflow-wrap: anywhere; word-break: break-word;"
# These characters change the direction of the text that follows, so they can change its meaning for a reader.
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class EmailContent:
    """The content of an email, without its envelope. The subject is one line without control characters."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of facts. `is_code` shows the last line as code. `link` is the target of that line."""

    label: str
    lines: Sequence[str]
    is_code: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """The operator's page that an email links to. `url` is "" if there is none."""

    name: str
    url: str


def lay_out(
    subject: str, message: Advice, facts: Sequence[TableRow], mark: str, page: Page, *, is_urgent: bool
) -> EmailContent:
    """Return an email. `mark` names a test network, or is ""."""
    return EmailContent(
        subject=subject,
        text=_text(message, facts, mark, page),
        html=_html(message, facts, mark, page, is_urgent=is_urgent),
    )


def one_line(text: str) -> str:
    return " ".join(sanitize(text).split())


def shortened(text: str, max_characters: int) -> str:
    return text if len(text) <= max_characters else text[: max(max_characters - 1, 0)].rstrip() + "…"


def _text(message: Advice, facts: Sequence[TableRow], mark: str, page: Page) -> str:
    paragraphs = map(_text_paragraph, message.paragraphs)
    table = [line for fact in facts for line in _text_lines(fact)]
    link = f"{page.name}:\n{page.url}" if page.url else ""
    pieces = [mark, message.headline, link, *paragraphs, "\n".join(table)]
    return "\n\n".join(filter(None, pieces)) + "\n"


def _text_paragraph(paragraph: str) -> str:
    """Return the paragraph in lines. A command stays on one line, so that it can be copied."""
    text = _CODE.sub(r"\1", paragraph)
    if _CODE.fullmatch(paragraph):
        return text
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _text_lines(fact: TableRow) -> Iterator[str]:
    label = fact.label
    has_other_target = fact.link and fact.link not in fact.lines
    for line in (*fact.lines, fact.link) if has_other_target else fact.lines:
        # A word that is longer than a line (a txid, a link) stays whole, so that it can be copied.
        for piece in textwrap.wrap(
            line, _WIDTH - _MARGIN, break_long_words=False, break_on_hyphens=False
        ) or [""]:
            yield f"{label:<{_MARGIN}}{piece}".rstrip()
            label = ""


def _html(message: Advice, facts: Sequence[TableRow], mark: str, page: Page, *, is_urgent: bool) -> str:
    # This red is readable on a light background and on a dark background.
    colour = "color: #d32f2f;" if is_urgent else ""
    band = f'<p style="{_BAND}">{escape(mark)}</p>\n' if mark else ""
    link = f'<p><a href="{escape(page.url)}" style="{_BUTTON}">{page.name}</a></p>\n' if page.url else ""
    paragraphs = "\n".join(f"<p>{_with_code_tags(paragraph)}</p>" for paragraph in message.paragraphs)
    rows = "\n".join(_html_row(fact) for fact in facts)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(message.headline)}</title>
</head>
<body style="{_BODY}">
{band}<h1 style="margin: 0; font-size: 22px; line-height: 1.3; {colour}">{escape(message.headline)}</h1>
{link}{paragraphs}
<table style="width: 100%; margin-top: 24px; border-collapse: collapse;">
{rows}
</table>
</body>
</html>
"""


def _html_row(fact: TableRow) -> str:
    *lines, last = [escape(line) for line in fact.lines]
    if fact.is_code:
        last = f"<code>{last}</code>"
    if fact.link:
        last = f'<a href="{escape(fact.link)}">{last}</a>'
    content = "<br>\n".join([*lines, last])
    return f'<tr>\n<th style="{_LABEL}">{escape(fact.label)}</th>\n<td style="{_VALUE}">{content}</td>\n</tr>'


def _with_code_tags(paragraph: str) -> str:
    """Return the paragraph as HTML. Text between backticks becomes code."""
    return _CODE.sub(r"<code>\1</code>", escape(paragraph))


def readable_time(text: str) -> str:
    return text.replace("T", " ").replace("Z", " UTC")


def sanitize(text: str) -> str:
    """Return the text without characters that end a line, break a header or change the text's direction."""
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character in _BIDI_CONTROLS:
        return ""
    return " " if unicodedata.category(character) in _UNPRINTABLE else character
