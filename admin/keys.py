"""`manage.py key`: a seller's API keys, with permissions for a shop's plug-in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from admin.checked import Checked
from admin.cli import (
    CommandError,
    answer,
    confirm,
    facts,
    json_option,
    open_settings_and_database,
    yes_option,
)
from admin.seller.choice import any_seller, optional_seller_argument, seller_argument, seller_named
from admin.terminal import readable_time, table
from config.types import InvalidValue, SettingType
from models.api_key import (
    MAX_LABEL_CHARACTERS,
    REFERENCE,
    ApiKey,
    add_key,
    all_keys,
    is_label,
    key_by_reference,
    keys_of,
    revoke,
)
from models.db.connection import database, snapshot
from payments.document import timestamp
from payments.greenfield.permissions import (
    MEANINGS,
    POLICIES,
    PREFIX,
    PRESETS,
    UnknownPermission,
    granted,
    in_words,
    read_permissions,
)


def _read_label(text: str) -> str:
    if not is_label(text):
        raise InvalidValue("is too long")
    return text


def _read_reference(text: str) -> str:
    if not REFERENCE.fullmatch(text):
        raise InvalidValue("is no id of a key")
    return text


def _read_permission(_context: click.Context, _parameter: click.Parameter, names: Sequence[str]) -> list[str]:
    try:
        return read_permissions(names)
    except UnknownPermission as error:
        raise click.BadParameter(str(error)) from None


_LABEL_TYPE = SettingType(_read_label, f"one line of up to {MAX_LABEL_CHARACTERS} characters")
_REFERENCE_TYPE = SettingType(_read_reference, "key_ and 16 letters and digits, as key list prints it")


@click.group()
def key() -> None:
    """Add, list and revoke the API keys of sellers.

    \b
    manage.py key add company1 --label WooCommerce --preset shop
    manage.py key list
    manage.py key revoke key_4NFvpU8duEamwKnD
    """


@key.command()
@seller_argument
@click.option(
    "--label", type=Checked("text", _LABEL_TYPE), default="", help="A name for yourself, such as WooCommerce."
)
@click.option(
    "--permission",
    "permissions",
    metavar="NAME",
    multiple=True,
    callback=_read_permission,
    help=f"Allow only this permission. Give it once for each permission: {', '.join(POLICIES)}.",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="Allow all that a shop's plug-in needs. The plug-in of PrestaShop needs prestashop.",
)
@json_option
def add(seller_id: str, label: str, permissions: list[str], preset: str | None, as_json: bool) -> None:
    """Add an API key to a seller, and print it.

    Save the key now, because it is not shown again. Without --permission and --preset the key has all
    permissions.

    \b
    manage.py key add company1 --label bookkeeping
    manage.py key add company1 --label WooCommerce --preset shop
    manage.py key add company1 --permission btcpay.store.canviewinvoices
    """
    chosen = {*permissions, *PRESETS.get(preset or "", ())}
    with open_settings_and_database() as settings:
        now = datetime.now(UTC)
        with database.atomic():
            seller = seller_named(seller_id)
            row, api_key = add_key(
                seller.id, now, label=label, permissions=granted(chosen) if chosen else None
            )
            row.seller = seller
        shown = document(row, now)
    pairs = [
        ("api key", api_key),
        ("key id", row.reference),
        ("label", label),
        ("store id", seller_id),
        ("address", settings.public_url),
    ]
    text = (
        f"Seller {seller_id} has a new key.\n\n{facts([pair for pair in pairs if pair[1]])}\n\n"
        f"It allows:\n{_allowed(row)}\n\nSave the key now, because it is not shown again."
    )
    answer({**shown, "api_key": api_key}, text, as_json)


@key.command("list")
@optional_seller_argument
@click.option("--all", "with_stopped", is_flag=True, help="Also list keys that do not work any more.")
@json_option
def list_(seller_id: str | None, with_stopped: bool, as_json: bool) -> None:
    """List the API keys of a seller, or of all sellers.

    Nodetill does not store the keys themselves, so the list has only their ids.

    \b
    manage.py key list
    manage.py key list company1 --all
    manage.py key list --json
    """
    now = datetime.now(UTC)
    with open_settings_and_database(), snapshot():
        found = all_keys() if seller_id is None else keys_of(any_seller(seller_id).id)
        documents = [document(each, now) for each in found]
    listed = [each for each in documents if with_stopped or each["status"] == "works"]
    answer(listed, _table(listed, with_status=with_stopped) if listed else "There are no keys.", as_json)


@key.command("revoke")
@click.argument("reference", metavar="KEY_ID", type=Checked("id", _REFERENCE_TYPE, hidden=True))
@yes_option
@json_option
def revoke_(reference: str, yes: bool, as_json: bool) -> None:
    """Revoke an API key. It stops at once, and never works again.

    KEY_ID is the id that `key list` prints. At a terminal the command waits for a confirmation.

    \b
    manage.py key revoke key_4NFvpU8duEamwKnD
    manage.py key revoke key_4NFvpU8duEamwKnD --yes
    """
    with open_settings_and_database():
        row = _unrevoked(reference)
        named = f"{reference} ({row.label})" if row.label else reference
        warning = f"The key {named} of seller {row.seller_id} stops at once, and never works again."
        # Ask before the transaction begins, because an open transaction would stop all writers.
        confirm(warning, "Revoke the key?", is_confirmed=yes, is_for_scripts=True)
        now = datetime.now(UTC)
        with database.atomic():
            is_revoked = revoke(row, now)
        row = _unrevoked(reference) if not is_revoked else _key(reference)
        shown = document(row, now)
    answer(shown, f"The key {named} of seller {row.seller_id} is revoked.", as_json)


def document(row: ApiKey, now: datetime) -> dict[str, Any]:
    """Return the public fields of a key."""
    return {
        "key_id": row.reference,
        "seller_id": row.seller_id,
        "label": row.label,
        "permissions": row.permissions,
        "status": _status(row, now),
        "created_at": timestamp(row.created_at),
        "created_by": row.created_by,
        "last_used_at": timestamp(row.last_used_at),
        "expires_at": timestamp(row.expires_at),
        "revoked_at": timestamp(row.revoked_at),
    }


def _status(row: ApiKey, now: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if not row.works(now):
        return "expired"
    return "works" if row.seller.removed_at is None else "seller removed"


def _key(reference: str) -> ApiKey:
    row = key_by_reference(reference)
    if row is None:
        raise CommandError(f"there is no key {reference}; all keys: key list --all")
    return row


def _unrevoked(reference: str) -> ApiKey:
    """Return the key with this id. Raise CommandError if there is none, or if it is revoked."""
    row = _key(reference)
    if row.revoked_at is not None:
        raise CommandError(f"the key {reference} was revoked at {timestamp(row.revoked_at)} already")
    return row


def _allowed(row: ApiKey) -> str:
    if row.permissions is None:
        return f"  {in_words(None)[0]}"
    width = max(map(len, MEANINGS))
    return "\n".join(f"  {each:<{width}}  {MEANINGS[each]}" for each in row.permissions)


def _table(documents: list[dict[str, Any]], *, with_status: bool) -> str:
    headings = ["KEY", "SELLER", "LABEL", "PERMISSIONS", "CREATED", "LAST USED", "EXPIRES", "STATUS"]
    rows = [
        [
            each["key_id"],
            each["seller_id"],
            each["label"],
            _short(each["permissions"]),
            readable_time(each["created_at"]),
            readable_time(each["last_used_at"] or "never"),
            readable_time(each["expires_at"] or ""),
            each["status"],
        ]
        for each in documents
    ]
    shown = [
        number
        for number, heading in enumerate(headings)
        if (heading != "STATUS" or with_status) and (heading != "EXPIRES" or any(row[number] for row in rows))
    ]
    return table([headings[number] for number in shown], [[row[number] for number in shown] for row in rows])


def _short(permissions: list[str] | None) -> str:
    """Return the permissions in short: "all", the name of a preset, or their names without the prefix."""
    if permissions is None:
        return "all"
    names = [name for name, preset in PRESETS.items() if [*preset] == permissions]
    return names[0] if names else ", ".join(each.removeprefix(PREFIX) for each in permissions) or "none"
