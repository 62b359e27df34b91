"""Export of the filtered list as CSV (RFC 4180), for a spreadsheet."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from itertools import chain

from models.payment import PaymentRequest
from models.queries.links import link_references
from payments.money import currency_exponent, exact_fiat, format_btc, to_plain
from web.api.forms import read_form
from web.api.payment_list import OperatorFilters, page_of
from web.api.search_limit import OPERATOR_SECONDS, bounded_reading
from web.http.database import connection
from web.http.request import Request
from web.http.responses import Response
from web.operator.payment_list import filled_in

CSV = "text/csv; charset=utf-8; header=present"
_BATCH_SIZE = 1000

# A spreadsheet runs a cell that begins like a formula, and a stranger may have written the cell
# (https://owasp.org/www-community/attacks/CSV_Injection). A reader with another separator may begin a cell
# after each of these characters, even inside quotation marks.
_FORMULA = re.compile(r'((?:\A|[;,|\t\r\n])[\s"\u200b\ufeff]*)(?=[=+\-@＝＋－﹢﹣−＠﹫])')
_STARTS_LIKE_FORMULA = ("\t", "\r", "\n")

COLUMNS = (
    "payment_request_id", "created_utc", "seller_id", "status", "late", "amount_fiat", "currency",
    "price_btc", "amount_btc", "received_btc", "received_fiat", "due_btc", "overpaid_btc", "address", "txid",
    "expires_utc", "received_utc", "confirmed_utc", "note", "label", "metadata", "order_id",
    "link_id",
)  # fmt: skip
"""`received_fiat` is the received money at the price of the request."""


def show(request: Request) -> Response:
    """GET /operator/payments.csv: all requests that match the filters of the list, newest first."""
    given = {
        name: value
        for name, value in filled_in(request, OperatorFilters).items()
        if name not in ("cursor", "newer")
    }
    filters = read_form(OperatorFilters, given)
    return csv_file(f"payments-{request.now:%Y-%m-%d}.csv", _lines(filters))


def csv_file(name: str, lines: Iterator[bytes]) -> Response:
    """Return a download. `lines` are parts of `csv_of`."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    # Without a byte order mark, spreadsheets assume the system's old code page.
    return Response(HTTPStatus.OK, chain([b"\xef\xbb\xbf"], lines), CSV, headers)


def decimals_of(amount: Decimal, currency: str) -> str:
    """Return an amount with as many decimals as its currency has, rounded half to even."""
    return to_plain(round(amount, currency_exponent(currency)))


def _lines(filters: OperatorFilters) -> Iterator[bytes]:
    """Yield the file in parts. Each part has its own transaction, so a slow client keeps none open."""
    yield csv_of([COLUMNS])
    cursor: str | None = None
    while True:
        part = filters.model_copy(update={"limit": _BATCH_SIZE, "cursor": cursor})
        with connection(), bounded_reading(OPERATOR_SECONDS):
            page, cursor = page_of(part)
            links = link_references(page)
        yield csv_of([_cells(payment, links.get(payment.link_id or 0)) for payment in page])
        if cursor is None:
            return


def _cells(payment: PaymentRequest, link_id: str | None) -> tuple[object, ...]:
    return (
        payment.reference,
        _time(payment.created_at),
        payment.seller_id,
        payment.status,
        "yes" if payment.is_late else "no",
        decimals_of(Decimal(payment.amount_fiat), payment.currency),
        payment.currency,
        payment.price,
        format_btc(payment.amount_sats),
        format_btc(payment.received_sats),
        decimals_of(exact_fiat(payment.received_sats, Decimal(payment.price)), payment.currency),
        format_btc(payment.due_sats),
        format_btc(payment.overpaid_sats),
        payment.address.address,
        payment.txid,
        _time(payment.expires_at),
        _time(payment.received_at),
        _time(payment.confirmed_at),
        payment.note,
        payment.label,
        _json(payment.metadata),
        payment.order_id,
        link_id,
    )


def _time(moment: datetime | None) -> str | None:
    """Return a time as spreadsheets read it. They take a time with T and Z for text."""
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _json(metadata: Mapping[str, object]) -> str:
    return json.dumps(metadata, ensure_ascii=False) if metadata else ""


def csv_of(rows: Iterable[tuple[object, ...]]) -> bytes:
    """Return rows as CSV, without cells that a spreadsheet would run."""
    text = io.StringIO()
    csv.writer(text).writerows([[_defused(cell) for cell in row] for row in rows])
    return text.getvalue().encode()


def _defused(cell: object) -> str:
    """Return the cell's text, with an apostrophe before each place where a formula may begin."""
    text = "" if cell is None else str(cell)
    text = f"'{text}" if text.startswith(_STARTS_LIKE_FORMULA) else text
    return _FORMULA.sub(r"\1'", text)
