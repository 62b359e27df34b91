"""`manage.py events`: messages that are not delivered, and their redelivery."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click
from peewee import JOIN

from admin.cli import CommandError, answer, json_option, open_settings_and_database
from admin.daemon import daemon_silence, warn_of
from admin.terminal import table
from models.command import request_redeliveries
from models.db.connection import database, snapshot
from models.outbox import Event, Message
from models.payment import PaymentRequest
from payments.document import timestamp

references_argument = click.argument("references", metavar="[ID]...", nargs=-1)


@click.group()
def events() -> None:
    """List and retry emails and webhooks that are not delivered.

    \b
    manage.py events list     the messages that wait, and the failed ones
    manage.py events retry    try all of them again now
    """


@events.command("list")
@references_argument
@json_option
def list_(references: tuple[str, ...], as_json: bool) -> None:
    """List waiting and failed messages, the oldest first.

    ID is the id of an event or of a payment. Without an ID all messages are listed.

    \b
    manage.py events list
    manage.py events list PR-4NFvpU8duEamwKnDykOqhi
    manage.py events list --json
    """
    with open_settings_and_database(), snapshot():
        found = [document(message) for message in undelivered(references)]
    answer(found, _table(found) if found else "Everything has been delivered.", as_json)


@events.command()
@references_argument
@json_option
def retry(references: tuple[str, ...], as_json: bool) -> None:
    """Try to deliver waiting and failed messages now.

    ID is the id of an event or of a payment. Without an ID all messages are tried, for example after a repair
    of the mail server. Each message begins its schedule of attempts anew. This only queues the
    task; the daemon does it within seconds.

    \b
    manage.py events retry
    manage.py events retry PR-4NFvpU8duEamwKnDykOqhi
    manage.py events retry evt_9f86d081884c7d659a2feaa0c55ad015 --json
    """
    now = datetime.now(UTC)
    with open_settings_and_database():
        messages = undelivered(references)
        request_redeliveries(messages, now, database.atomic)
        found = [document(message) for message in messages]
        silence = daemon_silence(now)
    text = (
        f"{_table(found)}\n\nThe daemon will try {_count(found)} again now."
        if found
        else "Everything has been delivered."
    )
    answer(found, text, as_json)
    warn_of(silence if found else None)


def undelivered(references: Iterable[str]) -> list[Message]:
    """Return the waiting and failed messages of these events and payments, or of all without references.

    Raise CommandError where a reference does not exist, or has no such message.
    """
    query = (
        Message.select(Message, Event, PaymentRequest)
        .join(Event, JOIN.LEFT_OUTER)
        .join_from(Message, PaymentRequest)
    )
    is_undelivered = Message.delivered_at.is_null() & Message.superseded_by.is_null()
    query = query.where(is_undelivered).order_by(Message.id)
    found: dict[int, Message] = {}
    for reference in dict.fromkeys(references):
        # Every id is printable ASCII, and PostgreSQL refuses a NUL.
        valid = reference if reference.isprintable() and reference.isascii() else ""
        is_named = (Event.reference == valid) | (PaymentRequest.reference == valid)
        rows = query.where(is_named | (Message.reference == valid))
        messages = {message.id: message for message in rows}
        if not messages:
            raise CommandError(
                f"nothing of {reference[:80]!a} waits to be delivered; all waiting messages: events list"
            )
        found |= messages
    return list(found.values()) if references else list(query)


def document(message: Message) -> dict[str, Any]:
    """Return the public fields of an undelivered message."""
    return {
        "event_id": message.event_reference,
        "payment_request_id": message.payment.reference,
        "type": message.event_type,
        "channel": message.channel,
        "recipient": message.recipient,
        "attempts": message.attempts,
        "last_error": message.last_error,
        "created_at": timestamp(message.created_at),
        "next_attempt_at": timestamp(message.next_attempt_at),
        "failed_at": timestamp(message.failed_at),
    }


def _table(found: list[dict[str, Any]]) -> str:
    columns = {
        "EVENT": "event_id",
        "PAYMENT": "payment_request_id",
        "TYPE": "type",
        "BY": "channel",
        "TRIES": "attempts",
        "NEXT TRY": "next_attempt_at",
        "LAST ERROR": "last_error",
    }
    rows = [[_cell(field, each[field]) for field in columns.values()] for each in found]
    return table(list(columns), rows)


def _cell(field: str, value: object) -> object:
    if value is None:
        return "given up" if field == "next_attempt_at" else ""
    return str(value).removeprefix("payment.") if field == "type" else value


def _count(found: list[dict[str, Any]]) -> str:
    return "it" if len(found) == 1 else f"all {len(found)}"
