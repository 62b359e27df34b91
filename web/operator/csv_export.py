"""Export of the filtered list as CSV (RFC 4180), for a spreadsheet."""

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

# A spreadsheet runs a cell that begins like a formula, and a stranger may have written the cell
# (https://owasp.org/www-community/attacks/CSV_Injection). A reader with another separator may begin a cell
# after each of these characters, even inside quotation marks.
_FORMULA = re.compile(r'((?:\A|[;,|\t\r\n])[\s"\u200b\ufeff]*)(?=[=+\-@＝＋－﹢﹣−＠﹫])')
_STARTS_LIKE_FORMULA = ("\t", "\r", "\n")

COLUMNS = (
    "payment_request_id", "created_at", "seller_id", "status", "late", "amount_fiat", "currency", "price_btc",
    "amount_btc", "received_btc", "due_btc", "overpaid_btc", "address", "txid", "expires_at", "received_at",
    "confirmed_at", "note", "label",
)  # fmt: skip


def show(call: Request) -> Content:
    """GET /operator/payments.csv: all requests that match the filters of the list, newest first."""
    given = {name: value for name, value in filled_in(call).items() if name != "cursor"}
    filters = read_form(OperatorFilters, given)
    name = f"payments-{call.now:%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Content(HTTPStatus.OK, _lines(filters), CSV, headers)


def _lines(filters: OperatorFilters) -> Iterator[bytes]:
    """Yield the file in parts. Each part has its own transaction, so a slow client keeps none open."""
    # Without a byte order mark, spreadsheets assume the system's old code page.
    yield b"\xef\xbb\xbf" + _csv_of([COLUMNS])
    cursor: str | None = None
    while True:
        part = filters.model_copy(update={"limit": _AT_ONCE, "cursor": cursor})
        with connection(), bounded_reading(OPERATOR_SECONDS):
            page, cursor = page_of(part)
        yield _csv_of([_cells(payment) for payment in page])
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


def _csv_of(rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([[_defused(cell) for cell in row] for row in rows])
    return text.getvalue().encode()


def _defused(cell: object) -> str:
    """Return the cell's text, with an apostrophe before each place where a formula may begin."""
    text = "" if cell is None else str(cell)
    text = f"'{text}" if text.startswith(_STARTS_LIKE_FORMULA) else text
    return _FORMULA.sub(r"\1'", text)
