"""The filtered list as CSV (RFC 4180), for a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus

from models.payment import PaymentRequest
from payments.document import timestamp
from payments.money import format_btc
from web.api.forms import read_form
from web.api.payment_list import OperatorFilters, page_of
from web.api.search_limit import OPERATOR_SECONDS, bounded_reading
from web.http.database import connection
from web.http.request import Request
from web.http.responses import Content
from web.operator.payment_list import filled_in

CSV = "text/csv; charset=utf-8; header=present"
_AT_ONCE = 1000

# A spreadsheet takes a cell that begins so for a formula, and would carry out what a stranger wrote
# (https://owasp.org/www-community/attacks/CSV_Injection). A reader that splits by another separator than ours
# begins a cell behind each of these, whatever stands in quotation marks for us.
_FORMULA = re.compile(r'((?:\A|[;,|\t\r\n])[\s"\u200b\ufeff]*)(?=[=+\-@＝＋－﹢﹣−＠﹫])')
_STARTS_LIKE_FORMULA = ("\t", "\r", "\n")

COLUMNS = (
    "payment_request_id", "created_at", "seller_id", "status", "late", "amount_fiat", "currency", "price_btc",
    "amount_btc", "received_btc", "due_btc", "overpaid_btc", "address", "txid", "expires_at", "received_at",
    "confirmed_at", "note", "label",
)  # fmt: skip


def show(call: Request) -> Content:
    """GET /operator/payments.csv: all that the list's filters let through, newest first."""
    given = {name: value for name, value in filled_in(call).items() if name != "cursor"}
    filters = read_form(OperatorFilters, given)
    name = f"payments-{call.now:%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Content(HTTPStatus.OK, _lines(filters), CSV, headers)


def _lines(filters: OperatorFilters) -> Iterator[bytes]:
    """A thousand rows at a time, each read by itself: a slow client keeps nobody's transaction open."""
    # Spreadsheets take a file without a byte order mark for one in the system's old code page.
    yield b"\xef\xbb\xbf" + _written([COLUMNS])
    cursor: str | None = None
    while True:
        part = filters.model_copy(update={"limit": _AT_ONCE, "cursor": cursor})
        with connection(), bounded_reading(OPERATOR_SECONDS):
            page, cursor = page_of(part)
        yield _written([_cells(payment) for payment in page])
        if cursor is None:
            return


def _cells(payment: PaymentRequest) -> tuple[object, ...]:
    return (
        payment.reference,
        timestamp(payment.created_at),
        payment.seller_id,
        payment.status,
        "yes" if payment.is_late else "no",
        payment.amount_fiat,
        payment.currency,
        payment.price,
        format_btc(payment.amount_sats),
        format_btc(payment.received_sats),
        format_btc(payment.due_sats),
        format_btc(payment.overpaid_sats),
        payment.address.address,
        payment.txid,
        timestamp(payment.expires_at),
        timestamp(payment.received_at),
        timestamp(payment.confirmed_at),
        payment.note,
        payment.label,
    )


def _written(rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([[_defused(cell) for cell in row] for row in rows])
    return text.getvalue().encode()


def _defused(cell: object) -> str:
    """Return the cell's text, with an apostrophe before each place where a reader may see a formula."""
    text = "" if cell is None else str(cell)
    text = f"'{text}" if text.startswith(_STARTS_LIKE_FORMULA) else text
    return _FORMULA.sub(r"\1'", text)
