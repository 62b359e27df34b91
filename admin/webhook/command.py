"""`manage.py webhook`: the addresses that receive the events of the sellers."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from admin.checked import Checked
from admin.cli import CommandError, answer, confirm, json_option, open_settings_and_database, yes_option
from admin.daemon import daemon_silence
from admin.seller.choice import optional_seller_argument, seller_argument, seller_named
from admin.seller.webhook import refuse_unreachable
from admin.webhook.page import delivery_document, document, last_answer, list_page, page
from config.addresses import http_url
from config.types import InvalidValue, SettingType
from models.command import request_webhook_test
from models.db.connection import database, disconnect
from models.delivery import Delivery, newest_delivery_id, trial_delivery_after
from models.webhook import (
    BTCPAY,
    KINDS,
    MAX_SECRET_CHARACTERS,
    MAX_WEBHOOKS,
    OPERATOR,
    STANDARD,
    Webhook,
    add_webhook,
    all_endpoints,
    check_secret,
    endpoints_of,
    events_of_kind,
    is_endpoint_too_many,
    new_btcpay_secret,
    new_webhook_secret,
    remove_webhook,
    update_webhook,
    webhook_by_reference,
)

MAX_WAIT_SECONDS = 60
_POLL_SECONDS = 0.2


def _read_secret(text: str) -> str:
    if not 0 < len(text) <= MAX_SECRET_CHARACTERS:
        raise InvalidValue("is empty or too long")
    return text


SECRET_TYPE = SettingType(_read_secret, f"1 to {MAX_SECRET_CHARACTERS} characters")

id_argument = click.argument("reference", metavar="ID")
url_type = Checked("url", http_url(), hidden=True)
events_option = click.option(
    "--event",
    "events",
    metavar="TYPE",
    multiple=True,
    help="Send only events of this type. Give it once for each type. By default all events.",
)
secret_option = click.option(
    "--secret",
    type=Checked("text", SECRET_TYPE, hidden=True),
    help="Sign with this secret. By default Nodetill makes a new one.",
)


@click.group()
def webhook() -> None:
    """Add, list, change, remove and test webhook endpoints.

    \b
    manage.py webhook add company1 https://shop.example.com/btcpay --kind btcpay
    manage.py webhook list
    manage.py webhook test wh_4NFvpU8duEamwKnDykOq
    """


@webhook.command()
@seller_argument
@click.argument("url", type=url_type)
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default=STANDARD,
    show_default=True,
    help="The form of the events: Standard Webhooks, or BTCPay's for a shop's plug-in.",
)
@events_option
@secret_option
@click.option("--no-redelivery", is_flag=True, help="Try each event once. Redeliver only by hand.")
@json_option
def add(
    seller_id: str,
    url: str,
    kind: str,
    events: tuple[str, ...],
    secret: str | None,
    no_redelivery: bool,
    as_json: bool,
) -> None:
    """Add an endpoint to a seller, and print its secret.

    Each endpoint of a seller gets the seller's events, signed with its own secret. No endpoint delays
    another.

    \b
    manage.py webhook add company1 https://shop.example.com/paid
    manage.py webhook add company1 https://shop.example.com/btcpay --kind btcpay
    manage.py webhook add company1 https://x.example/ --event payment.confirmed
    """
    wanted = _event_types(events, kind)
    _refuse_secret(kind, secret)
    with open_settings_and_database() as settings:
        refuse_unreachable(url, settings)
        with database.atomic():
            row = seller_named(seller_id)
            if is_endpoint_too_many(row.id):
                raise CommandError(
                    f"seller {seller_id} already has {MAX_WEBHOOKS} endpoints, which is the maximum"
                )
            new, signing = add_webhook(
                row,
                kind,
                url,
                datetime.now(UTC),
                secret=secret,
                event_types=wanted,
                automatic_redelivery=not no_redelivery,
            )
        found = {**document(new), "secret": signing}
    advice = (
        "Save the secret now, because it is not shown again."
        if kind == STANDARD
        else f"To show the secret again: webhook show {new.reference} --secret"
    )
    answer(found, f"{page(found)}\n\n{advice}", as_json)


@webhook.command("list")
@optional_seller_argument
@json_option
def list_(seller_id: str | None, as_json: bool) -> None:
    """List the endpoints of all sellers, or of one.

    \b
    manage.py webhook list
    manage.py webhook list company1 --json
    """
    with open_settings_and_database():
        rows = all_endpoints() if seller_id is None else endpoints_of(seller_named(seller_id))
        found = [document(row) for row in rows]
    answer(found, list_page(found) if found else "There are no webhook endpoints.", as_json)


@webhook.command()
@id_argument
@click.option("--secret", "with_secret", is_flag=True, help="Also show the secret of a btcpay endpoint.")
@json_option
def show(reference: str, with_secret: bool, as_json: bool) -> None:
    """Show an endpoint with its last delivery.

    The secret of a standard endpoint is never shown again.

    \b
    manage.py webhook show wh_4NFvpU8duEamwKnDykOq
    manage.py webhook show wh_4NFvpU8duEamwKnDykOq --secret
    """
    with open_settings_and_database():
        row = webhook_named(reference)
        found = document(row)
    if with_secret and row.kind != BTCPAY:
        raise CommandError(
            f"the secret of a standard endpoint is not shown again; for a new one: webhook set {reference} "
            "--new-secret"
        )
    if with_secret:
        found["secret"] = row.btcpay_secret
    answer(found, page(found), as_json)


@webhook.command("set")
@id_argument
@click.option("--url", type=url_type, help="The new address.")
@events_option
@click.option("--all-events", is_flag=True, help="Send all events again.")
@secret_option
@click.option("--new-secret", is_flag=True, help="Make a new secret, and print it.")
@click.option(
    "--enable/--disable", "is_enabled", default=None, help="Send events to the endpoint, or stop sending."
)
@click.option("--redelivery/--no-redelivery", "redelivers", default=None, help="Repeat failed attempts.")
@json_option
def set_(
    reference: str,
    url: str | None,
    events: tuple[str, ...],
    all_events: bool,
    secret: str | None,
    new_secret: bool,
    is_enabled: bool | None,
    redelivers: bool | None,
    as_json: bool,
) -> None:
    """Change an endpoint. Waiting events go to the new address.

    A standard endpoint signs with its new and its previous secret, so the shop can change its secret at any
    time.

    \b
    manage.py webhook set wh_4NFvpU8duEamwKnDykOq --url https://new.example.com/
    manage.py webhook set wh_4NFvpU8duEamwKnDykOq --disable
    manage.py webhook set wh_4NFvpU8duEamwKnDykOq --new-secret
    """
    if events and all_events:
        raise click.UsageError("--event and --all-events contradict each other")
    if secret and new_secret:
        raise click.UsageError("--secret and --new-secret contradict each other")
    values: dict[str, Any] = {"is_enabled": is_enabled, "automatic_redelivery": redelivers}
    values = {name: value for name, value in values.items() if value is not None}
    if not (values or url or events or all_events or secret or new_secret):
        raise click.UsageError("nothing to set: give an option, such as --url, --event or --disable")
    with open_settings_and_database() as settings:
        refuse_unreachable(url, settings)
        with database.atomic():
            row = webhook_named(reference)
            _refuse_secret(row.kind, secret)
            if url is not None:
                values |= {"url": url, "set_by": OPERATOR}
            if events or all_events:
                values["event_types"] = _event_types(events, row.kind)
            signing = _new_secret(row, secret, values) if secret or new_secret else None
            update_webhook(row, **values)
        found = document(webhook_named(reference))
    if signing is not None:
        found["secret"] = signing
    answer(found, page(found), as_json)


@webhook.command()
@id_argument
@yes_option
@json_option
def remove(reference: str, yes: bool, as_json: bool) -> None:
    """Remove an endpoint. Nodetill gives up the events that wait for it.

    At a terminal the command waits for a confirmation.

    \b
    manage.py webhook remove wh_4NFvpU8duEamwKnDykOq
    """
    with open_settings_and_database():
        row = webhook_named(reference)
        warning = f"The endpoint {reference} of seller {row.seller_id} gets no more events."
        # Ask before the transaction begins, because an open transaction would stop all writers.
        confirm(warning, f"Remove endpoint {reference}?", is_confirmed=yes, is_for_scripts=True)
        found = document(row)
        with database.atomic():
            remove_webhook(row, datetime.now(UTC))
    answer(found, f"Endpoint {reference} is removed.", as_json)


@webhook.command()
@id_argument
@json_option
def test(reference: str, as_json: bool) -> None:
    """Send a test to an endpoint, and wait for the answer.

    The daemon sends it. A standard endpoint gets the event `test`. A btcpay endpoint gets an event of an
    invoice that does not exist, as BTCPay Server sends it. The exit status is 1 unless the endpoint answers
    2xx.

    \b
    manage.py webhook test wh_4NFvpU8duEamwKnDykOq
    """
    now = datetime.now(UTC)
    with open_settings_and_database():
        row = webhook_named(reference)
        silence = daemon_silence(now)
        if silence is not None:
            raise CommandError(f"{silence}, and only a running daemon sends a test: start the daemon")
        before = newest_delivery_id(row)
        request_webhook_test(row, now, database.atomic)
        delivery = _awaited(row, before)
    if delivery is None:
        raise CommandError(
            f"no test was sent within {MAX_WAIT_SECONDS} s; other events to the endpoint may wait, "
            "and the daemon's log has the rest"
        )
    found = delivery_document(delivery)
    answer(found, f"{row.url}: {last_answer(found)}", as_json)
    if not delivery.was_accepted:
        raise click.exceptions.Exit(1)


def webhook_named(reference: str) -> Webhook:
    """Return the endpoint with this id. Raise CommandError if there is none, or if it is removed."""
    # Every id is printable ASCII. Do not search other text, because PostgreSQL refuses a NUL.
    valid = reference if reference.isprintable() and reference.isascii() else ""
    row = webhook_by_reference(valid)
    if row is None:
        raise CommandError(f"there is no webhook endpoint {reference[:80]!a}; all endpoints: webhook list")
    return row


def _awaited(row: Webhook, delivery_id: int) -> Delivery | None:
    """Wait for a test's delivery after the delivery with this id. Return None if none comes in time."""
    ends_at = time.monotonic() + MAX_WAIT_SECONDS
    while (found := trial_delivery_after(row, delivery_id)) is None and time.monotonic() < ends_at:
        disconnect()
        time.sleep(_POLL_SECONDS)
    return found


def _event_types(events: Sequence[str], kind: str) -> list[str] | None:
    """Return the types of events, or None for all. Raise UsageError for an unknown type."""
    known = events_of_kind(kind)
    unknown = [event for event in events if event not in known]
    if unknown:
        raise click.UsageError(
            f"a {kind} endpoint has no event {unknown[0][:80]!a}; its events: {', '.join(known)}"
        )
    return list(dict.fromkeys(events)) or None


def _refuse_secret(kind: str, secret: str | None) -> None:
    """Raise UsageError for a secret that this kind of endpoint cannot have."""
    fault = None if secret is None else check_secret(kind, secret)
    if fault is not None:
        raise click.UsageError(f"--secret: {fault}")


def _new_secret(row: Webhook, secret: str | None, values: dict[str, Any]) -> str:
    """Add the columns of a new secret to `values`, and return the secret."""
    if row.kind == BTCPAY:
        values["btcpay_secret"] = chosen = secret or new_btcpay_secret()
        return chosen
    values["previous_secret"] = Webhook.get_by_id(row.id).signing_secret
    values["signing_secret"] = chosen = secret or new_webhook_secret()
    return chosen
