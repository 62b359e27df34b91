"""`manage.py payment create`: make a payment request from a terminal."""

from datetime import UTC, datetime

import click

from admin.cli import answer, facts, json_option, open_settings_and_database
from admin.money_request import page_with_qr_code, problems_as_errors
from admin.seller.choice import seller_argument, seller_named
from admin.terminal import readable_time
from models.daemon_status import known_network
from models.db.connection import database
from web.api.documents import document_of_new
from web.api.forms import PaymentForm, read_form
from web.api.new_request import build_terms, store_request
from web.api.request_limit import check_request_limits
from web.api.schemas import Payment

# The forms name a field as the API does, and a command names its option.
_ARGUMENTS = {"amount_fiat": "AMOUNT", "currency": "CURRENCY"}


@click.command()
@seller_argument
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
        seller_named(seller_id)
        with problems_as_errors(_ARGUMENTS):
            form = read_form(PaymentForm, {"amount_fiat": amount, "currency": currency.upper(), **given})
            check_request_limits(settings, now, seller_id)
            terms = build_terms(form, seller_id, settings, now)
            with database.atomic():
                payment = store_request(terms)
        network = known_network()
        found = document_of_new(payment, network, settings)
    answer(found, page_with_qr_code(_page(found), found["payment_uri"], network), as_json)


def _page(found: Payment) -> str:
    lines = [
        ("Payment", found["payment_request_id"]),
        ("Amount", f"{found['amount_fiat']} {found['currency']}, {found['amount_btc']} BTC"),
        ("Order", found["order_id"]),
        ("Page", found["checkout_url"]),
        ("Address", found["address"]),
        ("Expires", readable_time(found["expires_at"])),
    ]
    return facts([line for line in lines if line[1]])
