"""`manage.py payment`: create, list, show, cancel and settle payment requests, and accept late money."""

from datetime import UTC, datetime

import click

from admin.cli import (
    NO_UNDO,
    CommandError,
    answer,
    confirm,
    json_option,
    open_settings_and_database,
    yes_option,
)
from admin.daemon import daemon_silence, warn_of
from admin.payment.create import create
from admin.payment.page import page
from admin.seller.choice import any_seller, seller_id_type
from admin.terminal import table
from models.address import Address
from models.command import NotCancellable, NotLate, request_acceptance, request_cancellation
from models.db.connection import database, snapshot
from models.decision import MAX_COMMENT_CHARACTERS, DecidedBy, decisions_of, is_comment
from models.outbox import events_of
from models.output import outputs_at
from models.payment import PaymentRequest, payment_by_reference
from models.queries.attention import acknowledge, actions_for, reopen
from models.queries.pricing import late_money_of
from payments.status import Status
from web.api.documents import document_as_now, document_of, documents_of
from web.api.schemas import Payment

MAX_LISTED = 1000

reference_argument = click.argument("reference", metavar="ID")


@click.group()
def payment() -> None:
    """Make, list, show and cancel requests, and decide on late money.

    \b
    manage.py payment create company1 135.99 EUR
    manage.py payment list --status expired
    manage.py payment show PR-4NFvpU8duEamwKnDykOqhi
    """


payment.add_command(create)


@payment.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only this status.")
@click.option("--seller", "seller_id", metavar="ID", type=seller_id_type, help="Only this seller's.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_LISTED), default=50, show_default=True, help="At most so many."
)
@json_option
def list_(status: str | None, seller_id: str | None, limit: int, as_json: bool) -> None:
    """List payment requests, the newest first.

    \b
    manage.py payment list
    manage.py payment list --status underpaid --seller company1
    manage.py payment list --limit 1000 --json
    """
    with open_settings_and_database() as settings, snapshot():
        query = PaymentRequest.select(PaymentRequest, Address).join(Address)
        if status is not None:
            query = query.where(PaymentRequest.status == status)
        if seller_id is not None:
            query = query.where(PaymentRequest.seller == any_seller(seller_id).id)
        found = documents_of(list(query.order_by(PaymentRequest.id.desc()).limit(limit)), settings)
    answer(found, _table(found) if found else "There are no such payments.", as_json)


@payment.command()
@reference_argument
@json_option
def show(reference: str, as_json: bool) -> None:
    """Show a request with its transactions, events and decisions.

    \b
    manage.py payment show PR-4NFvpU8duEamwKnDykOqhi
    """
    with open_settings_and_database() as settings, snapshot():
        row = payment_named(reference)
        found = document_of(row, settings)
        outputs, now = outputs_at(row.address_id), datetime.now(UTC)
        late = late_money_of(row, outputs, now, settings.rate_max_age, settings.rate_spread)
        shown = page(found, events_of(row), decisions_of(row), late, row.cancelled_at)
    answer(found, shown, as_json)


@payment.command()
@reference_argument
@yes_option
@json_option
def accept(reference: str, yes: bool, as_json: bool) -> None:
    """Count late money as if it had come in time.

    This only queues the task; the daemon does it within seconds. At a terminal the command waits for a
    confirmation.

    \b
    manage.py payment accept PR-4NFvpU8duEamwKnDykOqhi
    """
    with open_settings_and_database() as settings:
        row = payment_named(reference)
        is_done = row.late_accepted_at is not None
        if row.is_late and not is_done:
            warning = f"The late money of payment {row.reference} counts at the old price. {NO_UNDO}"
            confirm(warning, "Accept the late money?", is_confirmed=yes, is_for_scripts=True)
        now = datetime.now(UTC)
        try:
            request_acceptance(row, now, database.atomic, DecidedBy.COMMAND)
        except NotLate as error:
            message = f"payment {row.reference} has no late money to accept: it is {row.status}"
            raise CommandError(message) from error
        found = document_as_now(row, settings)
        silence = daemon_silence(now)
    result = "its late money is accepted already" if is_done else "the daemon will count the late money now"
    answer(found, f"Payment {reference}: {result}.", as_json)
    warn_of(None if is_done else silence)


@payment.command()
@reference_argument
@yes_option
@json_option
def cancel(reference: str, yes: bool, as_json: bool) -> None:
    """Cancel a payment request that nobody has paid.

    The price ends at once, and the request expires. Its address stays watched: money that still comes is
    late, and counts only if you accept it. This only queues the task; the daemon does it within seconds. If
    money comes at the same moment, the request is not cancelled. At a terminal the command waits for a
    confirmation.

    \b
    manage.py payment cancel PR-4NFvpU8duEamwKnDykOqhi
    """
    with open_settings_and_database() as settings:
        row = payment_named(reference)
        is_done = row.is_cancelled
        if row.status == Status.NEW and not is_done:
            warning = f"The price of payment {row.reference} ends at once. {NO_UNDO}"
            confirm(warning, "Cancel the payment?", is_confirmed=yes, is_for_scripts=True)
        now = datetime.now(UTC)
        try:
            request_cancellation(row, now, database.atomic)
        except NotCancellable as error:
            message = f"payment {row.reference} cannot be cancelled, because {error}"
            raise CommandError(message) from error
        found = document_as_now(row, settings)
        silence = daemon_silence(now)
    result = "it is cancelled already" if is_done else "the daemon will cancel it now, unless money has come"
    answer(found, f"Payment {reference}: {result}.", as_json)
    warn_of(None if is_done else silence)


@payment.command()
@reference_argument
@click.option("--comment", default="", metavar="TEXT", help="One line for the payment's timeline.")
@click.option("--undo", is_flag=True, help="Undo the last mark as done.")
@json_option
def settle(reference: str, comment: str, undo: bool, as_json: bool) -> None:
    """Mark a payment as done, so that it needs no decision any more.

    \b
    manage.py payment settle PR-4NFvpU8duEamwKnDykOqhi --comment "refunded"
    manage.py payment settle PR-4NFvpU8duEamwKnDykOqhi --undo
    """
    now, comment = datetime.now(UTC), comment.strip()
    if undo and comment:
        raise click.UsageError("--undo takes no --comment")
    if not is_comment(comment):
        message = f"must be one line with at most {MAX_COMMENT_CHARACTERS} characters"
        raise click.BadParameter(message, param_hint="--comment")
    with open_settings_and_database() as settings:
        row = payment_named(reference)
        with database.atomic():
            if undo:
                _undo(row, now)
            else:
                _settle(row, now, comment)
        found = document_as_now(row, settings)
    answer(found, f"Payment {reference}: {'open again' if undo else 'marked as done'}.", as_json)


def _settle(row: PaymentRequest, now: datetime, comment: str) -> None:
    if not actions_for(row):
        raise CommandError(f"payment {row.reference} needs no decision: it is {row.status}")
    if not acknowledge(row, row.revision, now, DecidedBy.COMMAND, comment):
        raise CommandError(f"payment {row.reference} has changed just now: look at it again, then decide")


def _undo(row: PaymentRequest, now: datetime) -> None:
    if not reopen(row, now, DecidedBy.COMMAND):
        raise CommandError(f"the last decision on payment {row.reference} is not a mark as done")


def payment_named(reference: str) -> PaymentRequest:
    """Return the request with this id. Raise CommandError where there is none."""
    row = payment_by_reference(reference)
    if row is None:
        raise CommandError(f"there is no payment {reference[:80]!a}; the newest payments: payment list")
    return row


def _table(found: list[Payment]) -> str:
    headings = ("ID", "CREATED", "SELLER", "AMOUNT", "SATOSHIS", "STATUS", "DEPTH", "NOTE")
    rows = [
        (
            each["payment_request_id"],
            each["created_at"],
            each["seller_id"],
            f"{each['amount_fiat']} {each['currency']}",
            each["amount_sats"],
            each["status"] + (" (late)" if each["late"] else ""),
            f"{each['confirmations']} of {each['confirmations_required']}",
            each["note"] if len(each["note"]) <= 40 else f"{each['note'][:39]}…",
        )
        for each in found
    ]
    return table(headings, rows)
