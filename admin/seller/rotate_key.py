"""`manage.py seller rotate-key`: a new API key or webhook secret of a seller."""

from datetime import UTC, datetime, timedelta

import click

from admin.cli import confirm, json_option, open_settings_and_database, yes_option
from admin.seller.choice import seller_named
from admin.seller.command import id_argument, print_secrets
from admin.seller.webhook import renew_webhook_secret
from config.command import manage_command
from models.api_key import limited_keys, previous_key_until, replace_own_keys
from models.db.connection import database
from models.seller import Seller
from payments.document import timestamp

MAX_OVERLAP_HOURS = 30 * 24
LABEL = "made by rotate-key"


@click.command()
@id_argument
@click.option(
    "--keep-old-for",
    "hours",
    metavar="HOURS",
    type=click.IntRange(0, MAX_OVERLAP_HOURS),
    default=0,
    show_default=True,
    help=f"The hours for which the old key still works, 0 to {MAX_OVERLAP_HOURS}.",
)
@click.option("--webhook-secret", is_flag=True, help="Make a new webhook secret, and keep the API key.")
@yes_option
@json_option
def rotate_key(seller_id: str, hours: int, webhook_secret: bool, yes: bool, as_json: bool) -> None:
    """Make a new API key with all permissions.

    The old key stops at once. With --keep-old-for both keys work for some hours, so the shop can change its
    key without an interruption. A key from before the old one stops at once. Keys with a list of permissions,
    such as the keys of plug-ins, continue to work.

    With --webhook-secret, make a new webhook secret instead. Webhooks then have two signatures, one by the
    new secret and one by the previous secret. So the shop can change its secret at any time.

    \b
    manage.py seller rotate-key company1
    manage.py seller rotate-key company1 --keep-old-for 24
    manage.py seller rotate-key company1 --webhook-secret
    """
    if webhook_secret and hours:
        raise click.UsageError("--keep-old-for is for API keys; a previous webhook secret stays valid")
    now = datetime.now(UTC)
    with open_settings_and_database():
        if hours:
            _confirm_stop(seller_named(seller_id), now, is_confirmed=yes)
        with database.atomic():
            row = seller_named(seller_id)
            if webhook_secret:
                change, new = renew_webhook_secret(row, now)
            else:
                change, new = _renew_api_key(row, timedelta(hours=hours), now)
            row.save()
        line = "" if webhook_secret else _line_on(limited_keys(row.id, now), row)
        print_secrets(row, change, as_json, line, **new)


def _renew_api_key(row: Seller, keep_old_for: timedelta, now: datetime) -> tuple[str, dict[str, str]]:
    """Make a new API key with all permissions. The seller's old key works for `keep_old_for`.

    Return a sentence on the change, and the fields to print. Must run inside a transaction.
    """
    key, new = replace_own_keys(row.id, keep_old_for, now, LABEL)
    fields = {"api_key": new, "key_id": key.reference}
    if not keep_old_for:
        return "has a new key, and the old key has stopped", fields
    until = timestamp(now + keep_old_for)
    return f"has a new key, and the old key works until {until}", {**fields, "previous_key_until": until}


def _confirm_stop(row: Seller, now: datetime, *, is_confirmed: bool) -> None:
    """Wait for a confirmation if a previous key still works, because a new key stops the previous one."""
    until = previous_key_until(row.id, now)
    if until is None:
        return
    warning = (
        f"Seller {row.id} has a previous key that works until {timestamp(until)}. "
        "It stops at once if you make a new key."
    )
    confirm(warning, "Make a new key?", is_confirmed=is_confirmed)


def _line_on(limited: int, row: Seller) -> str:
    """Return a line on the keys with a list of permissions, or "" if there are none."""
    if not limited:
        return ""
    one = limited == 1
    return (
        f"\n\n{limited} {'key' if one else 'keys'} with a list of permissions "
        f"{'continues' if one else 'continue'} to work; to list them: {manage_command()} key list {row.id}"
    )
