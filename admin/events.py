"""`manage.py events`: what could not be told yet, and telling it again."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click

from admin.cli import CommandError, answer, json_option, open_settings_and_database
from admin.payments import daemon_silence
from admin.terminal import table
from models.command import request_redeliveries
from models.db.connection import database, snapshot
from models.outbox import Event, Message
from models.payment import PaymentRequest
from payments.document import timestamp

references_argument = click.argument("references", metavar="[ID]...", nargs=-1)


@click.group()
def events() -> None:
    """Emails and webhooks that have not been delivered yet.

    \b
    manage.py events list     those that wait, and those that were given up
    manage.py events retry    try all of them again now
    """


@events.command("list")
@references_argument
@json_option
def list_(references: tuple[str, ...], as_json: bool) -> None:
    """What waits for its next try, or was given up; the oldest first.

    ID is an event's or a payment's; without one, all are listed.

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
    """Try now what waits for its next try, or was given up.

    ID is an event's or a payment's; without one, all are tried: once the mail server is mended, say. Each
    begins its schedule anew. The daemon does it: the command leaves word for it, and doesn't wait.

    \b
    manage.py events retry
    manage.py events retry PR-4NFvpU8duEamwKnDykOqhi
    manage.py events retry evt_2Zk6bW1vJrXq2nVhA8dUeK --json
    """
    now = datetime.now(UTC)
    with open_settings_and_database():
        messages = undelivered(references)
        request_redeliveries(messages, now, database.atomic)
        found = [document(message) for message in messages]
        silence = daemon_silence(now)
    said = (
        f"{_table(found)}\n\nThe daemon will try {_count(found)} again now." if found else "All is delivered."
    )
    answer(found, said, as_json)
    if silence is not None and found:
        click.echo(f"nodetill: {silence}: nothing happens until it runs", err=True)


def undelivered(references: Iterable[str]) -> list[Message]:
    """The messages that wait or were given up: of these events and payments, or of all.

    Raises CommandError where one of them is not there, or has nothing of the kind.
    """
    query = Message.select(Message, Event, PaymentRequest).join(Event).join(PaymentRequest)
    query = query.where(Message.delivered_at.is_null()).order_by(Message.id)
    found: dict[int, Message] = {}
    for reference in dict.fromkeys(references):
        # No id has any other character, and PostgreSQL would choke on a NUL.
        named = reference if reference.isprintable() and reference.isascii() else ""
        of_it = query.where((Event.reference == named) | (PaymentRequest.reference == named))
        messages = {message.id: message for message in of_it}
        if not messages:
            raise CommandError(f"nothing of {reference[:80]!a} waits to be delivered; what does: events list")
        found |= messages
    return list(found.values()) if references else list(query)


def document(message: Message) -> dict[str, Any]:
    """All that may be shown of a message that was not delivered."""
    return {
        "event_id": message.event.reference,
        "payment_request_id": message.event.payment.reference,
        "type": message.event.type,
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
    rows = [[_shown(field, each[field]) for field in columns.values()] for each in found]
    return table(list(columns), rows)


def _shown(field: str, value: object) -> object:
    if value is None:
        return "given up" if field == "next_attempt_at" else ""
    return str(value).removeprefix("payment.") if field == "type" else value


def _count(found: list[dict[str, Any]]) -> str:
    return "it" if len(found) == 1 else f"all {len(found)}"
