"""`manage.py link`: create, list, show and close payment links."""

from collections.abc import Iterable
from datetime import UTC, datetime

import click

from admin.cli import (
    NO_UNDO,
    CommandError,
    answer,
    confirm,
    facts,
    json_option,
    open_settings_and_database,
    yes_option,
)
from admin.money_request import page_with_qr_code, problems_as_errors
from admin.seller.choice import any_seller, seller_argument, seller_id_type, seller_named
from admin.terminal import printable, readable_time, table
from models.daemon_status import known_network
from models.db.connection import database, get_row, snapshot
from models.link import Link, link_by_reference
from models.queries.late_requests import LateRequest, late_requests
from models.queries.link_search import LinkSearch, LinkState, link_count, newest_links
from payments.money import format_btc
from web.api.forms import read_form
from web.api.link_forms import LinkForm
from web.api.link_schemas import PaymentLink
from web.api.links import document_of_link, documents_of_links
from web.api.new_link import end_link, make_link

MAX_LISTED = 200
MAX_SHOWN_TITLE = 40

id_argument = click.argument("reference", metavar="ID")


@click.group()
def link() -> None:
    """Create, list, show and close payment links.

    A link is for an invoice, a donation or a price tag. It has no price and no address. Each payer gets both
    on the page of the link.

    \b
    manage.py link create company1 "Invoice 17" EUR --amount 135.99
    manage.py link list
    manage.py link close LK-7tPq2Zc9mWbYd4KxVn5RsA
    """


@link.command()
@seller_argument
@click.argument("title", metavar="TITLE")
@click.argument("currency", metavar="CURRENCY")
@click.option("--amount", "amount_fiat", metavar="AMOUNT", help="The amount. Without it, the payer chooses.")
@click.option("--minimum", metavar="AMOUNT", help="The minimum amount that the payer may choose.")
@click.option("--maximum", metavar="AMOUNT", help="The maximum amount that the payer may choose.")
@click.option("--suggested", multiple=True, metavar="AMOUNT", help="An amount for a button. Give up to four.")
@click.option("--reusable", "is_reusable", is_flag=True, help="Anybody may pay it, any number of times.")
@click.option("--due", "due_at", metavar="TIME", help="A day such as 2026-12-24 (UTC), or a time.")
@click.option("--description", metavar="TEXT", help="A text on the page of the link.")
@click.option("--order-id", metavar="TEXT", help="The number of the order or invoice. The payer sees it.")
@click.option("--note", metavar="TEXT", help="A note for you alone.")
@click.option("--thanks", metavar="TEXT", help="A text that the payer sees after the payment.")
@click.option("--redirect-url", metavar="URL", help="The page to which the checkout pages lead.")
@click.option("--confirmations", type=int, metavar="N", help="The confirmations that its payments need.")
@click.option("--expires-in", type=int, metavar="SECONDS", help="The time for which a price is valid.")
@json_option
def create(
    seller_id: str,
    title: str,
    currency: str,
    suggested: tuple[str, ...],
    due_at: str | None,
    as_json: bool,
    **options: str | int | bool | None,
) -> None:
    """Create a link, and print its address and QR code.

    \b
    manage.py link create company1 "Invoice 17" EUR --amount 135.99
    manage.py link create company1 "Invoice 18" EUR --due 2026-12-24
    manage.py link create company1 Coffee EUR --reusable --suggested 3
    """
    given = {name: value for name, value in options.items() if value is not None}
    due = f"{due_at}T23:59:59Z" if due_at is not None and len(due_at) == len("2026-12-24") else due_at
    body = {**given, "title": title, "currency": currency.upper(), "suggested": [*suggested], "due_at": due}
    now = datetime.now(UTC)
    with open_settings_and_database() as settings:
        seller = seller_named(seller_id)
        with problems_as_errors(_ARGUMENTS):
            row = make_link(read_form(LinkForm, body), seller.id, settings, now, database.atomic)
        with snapshot():
            found = document_of_link(row, settings, now)
        network = known_network()
    answer(found, page_with_qr_code(_page(found), found["url"], network), as_json)


@link.command("list")
@click.option(
    "--state", type=click.Choice([each.value for each in LinkState]), help="Only links in this state."
)
@click.option("--search", "text", metavar="TEXT", help="An id, or a part of a title, an order or a note.")
@click.option("--seller", "seller_id", metavar="ID", type=seller_id_type, help="Only this seller's.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LISTED), default=50, show_default=True, help="The maximum number."
)
@json_option
def list_(state: str | None, text: str | None, seller_id: str | None, limit: int, as_json: bool) -> None:
    """List links, the newest first, with the money that each received.

    An unpaid link is neither paid nor closed. The last line has the number of links if the list is shorter.

    \b
    manage.py link list
    manage.py link list --state overdue
    manage.py link list --seller company1 --json
    """
    now = datetime.now(UTC)
    with open_settings_and_database() as settings, snapshot():
        if seller_id is not None:
            any_seller(seller_id)
        search = LinkSearch(seller_id=seller_id, state=LinkState(state) if state else None, text=text)
        found = documents_of_links(newest_links(search, now, limit), settings, now)
        total = link_count(search, now)
    shown = _table(found) if found else "There are no such links."
    if total > len(found):
        shown = f"{shown}\n{len(found):,} of {total:,} links"
    answer(found, shown, as_json)


@link.command()
@id_argument
@json_option
def show(reference: str, as_json: bool) -> None:
    """Show a payment link with its payments.

    \b
    manage.py link show LK-7tPq2Zc9mWbYd4KxVn5RsA
    """
    with open_settings_and_database() as settings, snapshot():
        row, now = _link_named(reference), datetime.now(UTC)
        found = document_of_link(row, settings, now)
        late = late_requests(row, now, settings.rate_max_age, settings.rate_spread)
    answer(found, _page(found, late), as_json)


@link.command()
@id_argument
@yes_option
@json_option
def close(reference: str, yes: bool, as_json: bool) -> None:
    """Close a payment link, so that nobody can pay it any more.

    Nodetill cancels its payments to which nothing came. Money that came counts as before. At a terminal the
    command waits for a confirmation.

    \b
    manage.py link close LK-7tPq2Zc9mWbYd4KxVn5RsA
    """
    with open_settings_and_database() as settings:
        row = _link_named(reference)
        if row.closed_at is None:
            warning = f"Nobody can pay the link {row.reference} any more. {NO_UNDO}"
            confirm(warning, "Close the link?", is_confirmed=yes, is_for_scripts=True)
        now = datetime.now(UTC)
        end_link(row, now, database.atomic)
        with snapshot():
            found = document_of_link(get_row(Link, row.id), settings, now)
    answer(found, f"Link {row.reference}: {found['status']}.", as_json)


_ARGUMENTS = {
    "title": "TITLE",
    "currency": "CURRENCY",
    "amount_fiat": "--amount",
    "due_at": "--due",
    "is_reusable": "--reusable",
}
"""The argument or option for a field, if its name differs from the field's name."""


def _link_named(reference: str) -> Link:
    row = link_by_reference(reference)
    if row is None:
        raise CommandError(f"there is no link {reference[:80]!a}; the newest links: link list")
    return row


def _page(found: PaymentLink, late: Iterable[LateRequest] = ()) -> str:
    currency = found["currency"]

    def money(amount: str | None) -> str | None:
        return amount and f"{amount} {currency}"

    kind = "reusable" if found["is_reusable"] else "single-use"
    chosen = f"chosen by the payer, in {currency}"
    lines: list[tuple[str, str | None]] = [
        ("Link", found["link_id"]),
        ("Title", found["title"]),
        ("Status", f"{found['status']}, {kind}"),
        ("Seller", found["seller_id"]),
        ("Amount", money(found["amount_fiat"]) or chosen),
        ("At least", money(found["minimum"])),
        ("At most", money(found["maximum"])),
        ("Suggested", ", ".join(found["suggested"])),
        ("Paid", money(found["paid_fiat"])),
        ("Remaining", money(found["remaining_fiat"])),
        ("Under review", f"{format_btc(found['late_sats'])} BTC" if found["late_sats"] else None),
        *(("Late", f"{each.reference}: {each.sentences()}") for each in late),
        ("Due", found["due_at"] and readable_time(found["due_at"])),
        ("Order", found["order_id"]),
        ("Note", found["note"]),
        ("Page", found["url"]),
        ("Closed", found["closed_at"] and readable_time(found["closed_at"])),
    ]
    shown = facts([line for line in lines if line[1]])
    payments = [
        printable(f"  {each['payment_request_id']}  {each['paid_fiat']} {currency}  {each['status']}")
        for each in found["payments"]
    ]
    return "\n".join([shown, "", "Payments", *payments]) if payments else shown


def _table(found: list[PaymentLink]) -> str:
    headings = ("ID", "CREATED", "SELLER", "AMOUNT", "PAID", "STATUS", "TITLE")
    rows = [
        (
            each["link_id"],
            each["created_at"],
            each["seller_id"],
            f"{each['amount_fiat'] or 'any'} {each['currency']}",
            each["paid_fiat"],
            each["status"] + (" (reusable)" if each["is_reusable"] else ""),
            _shortened(each["title"]),
        )
        for each in found
    ]
    return table(headings, rows)


def _shortened(title: str) -> str:
    return title if len(title) <= MAX_SHOWN_TITLE else f"{title[: MAX_SHOWN_TITLE - 1]}…"
