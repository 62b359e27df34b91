"""`manage.py payment create`: ask for money from a terminal."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime

import click
import segno

from admin.cli import CommandError, answer, facts, json_option, open_settings_and_database
from admin.terminal import readable_time
from models.daemon_status import known_network
from models.db.connection import database
from models.seller import seller_by_id
from web.api.documents import document_of_new
from web.api.forms import PaymentForm, read_form
from web.api.new_request import agreed_terms, store_request
from web.api.request_limit import check_request_limits
from web.api.schemas import Payment
from web.http.responses import Problem

# The forms name a field as the API does, and a command names its option.
_ARGUMENTS = {"amount_fiat": "AMOUNT", "currency": "CURRENCY"}


@click.command()
@click.argument("seller_id", metavar="SELLER")
@click.argument("amount", metavar="AMOUNT")
@click.argument("currency", metavar="CURRENCY")
@click.option("--order-id", metavar="TEXT", help="The number of the order or invoice. The customer sees it.")
@click.option("--note", metavar="TEXT", help="A note for you alone.")
@click.option("--label", metavar="TEXT", help="Text on the checkout page and in the customer's wallet.")
@click.option("--confirmations", type=int, metavar="N", help="The confirmations that this payment needs.")
@click.option("--expires-in", type=int, metavar="SECONDS", help="The time for which the price is valid.")
@json_option
def create(seller_id: str, amount: str, currency: str, as_json: bool, **options: str | int | None) -> None:
    """Ask for money, and show the link and the QR code.

    \b
    manage.py payment create company1 135.99 EUR
    manage.py payment create company1 0.001 BTC --order-id 4711 --expires-in 3600
    """
    given = {name: value for name, value in options.items() if value is not None}
    now = datetime.now(UTC)
    with open_settings_and_database() as settings:
        seller = seller_by_id(seller_id)
        if seller is None or seller.removed_at is not None:
            raise CommandError(f"there is no seller {seller_id[:80]!a}; the sellers: seller list")
        try:
            form = read_form(PaymentForm, {"amount_fiat": amount, "currency": currency.upper(), **given})
            check_request_limits(settings, now, seller_id)
            terms = agreed_terms(form, seller_id, settings, now)
            with database.atomic():
                payment = store_request(terms)
        except Problem as problem:
            raise CommandError(option_words(problem, _ARGUMENTS)) from problem
        found = document_of_new(payment, known_network(), settings)
    answer(found, _page(found), as_json)


def qr_code(text: str) -> str:
    """Return a QR code in block characters, for a terminal."""
    picture = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(picture, compact=True)
    return picture.getvalue()


def option_words(problem: Problem, arguments: Mapping[str, str]) -> str:
    """Return the problem's errors with the names of the command's options instead of fields.

    `arguments` has the argument or option for each field whose name differs.
    """
    if not problem.errors:
        return problem.detail
    return "; ".join(f"{_option(error.field, arguments)} {error.message}" for error in problem.errors)


def _option(field: str, arguments: Mapping[str, str]) -> str:
    return arguments.get(field, f"--{field.replace('_', '-')}")


def _page(found: Payment) -> str:
    lines = [
        ("Payment", found["payment_request_id"]),
        ("Amount", f"{found['amount_fiat']} {found['currency']}, {found['amount_btc']} BTC"),
        ("Order", found["order_id"]),
        ("Page", found["checkout_url"]),
        ("Address", found["address"]),
        ("Expires", readable_time(found["expires_at"])),
    ]
    return f"{facts([line for line in lines if line[1]])}\n\n{qr_code(found['payment_uri'])}"
