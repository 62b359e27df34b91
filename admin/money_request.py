"""The parts that `payment create` and `link create` share: the form's errors, the QR code, the network."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import segno

from admin.cli import CommandError
from payments.network import network_mark
from web.http.responses import Problem


@contextmanager
def problems_as_errors(arguments: Mapping[str, str]) -> Iterator[None]:
    """Raise CommandError for a problem of the API's form, with the names of the command's options.

    `arguments` has the argument or option for each field whose name differs.
    """
    try:
        yield
    except Problem as problem:
        named = [f"{_option(error.field, arguments)} {error.message}" for error in problem.errors]
        raise CommandError("; ".join(named) or problem.detail) from problem


def page_with_qr_code(page: str, url: str, network: str | None) -> str:
    """Return the page with a QR code of the URL, and with a first line that marks a test network."""
    return "\n\n".join(part for part in (network_mark(network), page, _qr_code(url)) if part)


def _qr_code(text: str) -> str:
    """Return a QR code in block characters, for a terminal."""
    picture = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(picture, compact=True)
    return picture.getvalue()


def _option(field: str, arguments: Mapping[str, str]) -> str:
    return arguments.get(field, f"--{field.replace('_', '-')}")
