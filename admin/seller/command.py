"""`manage.py seller`: the shops that may create payment requests, and their keys."""

from collections.abc import Mapping
from datetime import UTC, datetime

import click
import peewee

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
from admin.seller.choice import any_seller, seller_id_type, seller_named, was_removed
from admin.seller.page import document, full_document, page
from admin.seller.webhook import (
    refuse_unreachable,
    restart_webhook_secret,
    set_webhook_url,
    webhook_secret,
)
from admin.terminal import table
from admin.wallet.choice import chosen_wallet, wallets_change
from config.addresses import email_address, http_url, support_contact
from config.types import InvalidValue, SettingType
from models.api_key import add_key, revoke_all
from models.db.connection import database, snapshot
from models.seller import MAX_NAME_CHARACTERS, Seller

FIRST_KEY = "first key"
"""The label of the key that `seller add` makes."""
_COLUMNS = {"wallet": "wallet_id"}
_SECRETS = ("api_key", "webhook_secret")


def _read_name(text: str) -> str:
    if len(text) > MAX_NAME_CHARACTERS:
        raise InvalidValue("is too long")
    return text


NAME_TYPE = SettingType(_read_name, f"up to {MAX_NAME_CHARACTERS} characters")

id_argument = click.argument("seller_id", metavar="ID", type=seller_id_type)
name_option = click.option("--name", type=Checked("text", NAME_TYPE), help="The shop's name.")
email_option = click.option(
    "--email",
    type=Checked("address", email_address()),
    help="The shop's email address; your emails show it as the contact.",
)
support_option = click.option(
    "--support",
    type=Checked("address", support_contact()),
    help="An email address or a web page. The checkout page links to it where something is wrong.",
)
wallet_option = click.option(
    "--wallet", metavar="NAME", help="The wallet of its addresses; by default the default wallet."
)
url_option = click.option(
    "--webhook-url", type=Checked("url", http_url(), hidden=True), help="The address that gets its webhooks."
)


@click.group()
def seller() -> None:
    """Add, list, show, change and remove sellers.

    \b
    manage.py seller add company1 --name "Alpaca Direct"
    manage.py seller list
    manage.py seller show company1
    """


@seller.command()
@id_argument
@name_option
@email_option
@support_option
@url_option
@wallet_option
@click.option("--restore", is_flag=True, help="Bring back a removed seller, with a new key.")
@json_option
def add(seller_id: str, wallet: str | None, restore: bool, as_json: bool, **values: str | None) -> None:
    """Add a seller, and print its API key and secret.

    Save the API key and the webhook secret now: they are not shown again.

    \b
    manage.py seller add company1
    manage.py seller add company1 --support help@example.com
    manage.py seller add company1 --webhook-url https://shop.example.com/paid
    manage.py seller add company1 --wallet vault
    manage.py seller add company1 --restore
    """
    with open_settings_and_database() as settings:
        refuse_unreachable(values.get("webhook_url"), settings)
        now = datetime.now(UTC)
        row, api_key = add_seller(seller_id, values, wallet, restore=restore, now=now)
        print_secrets(row, "added", as_json, api_key=api_key, webhook_secret=webhook_secret(row))


@seller.command("list")
@click.option("--all", "with_removed", is_flag=True, help="Also list removed sellers.")
@json_option
def list_(with_removed: bool, as_json: bool) -> None:
    """List all sellers in the order of their ids.

    \b
    manage.py seller list
    manage.py seller list --all --json
    """
    with open_settings_and_database():
        query = Seller.select().order_by(Seller.id)
        sellers = list(query if with_removed else query.where(Seller.removed_at.is_null()))
        documents = [document(row) for row in sellers]
    columns = {
        "ID": "seller_id",
        "ADDED": "created_at",
        "REMOVED": "removed_at",
        "EMAIL": "email",
        "NAME": "name",
        "WALLET": "wallet",
        "WEBHOOK": "webhook_url",
    }
    if not with_removed:
        del columns["REMOVED"]
    if not any(each["wallet"] for each in documents):
        del columns["WALLET"]
    rows = [[each[field] or "" for field in columns.values()] for each in documents]
    shown = table(list(columns), rows)
    answer(documents, shown if rows else "There are no sellers.", as_json)


@seller.command()
@id_argument
@json_option
def show(seller_id: str, as_json: bool) -> None:
    """Show a seller with its webhooks and requests.

    Neither the API key nor the webhook secret is shown.

    \b
    manage.py seller show company1
    manage.py seller show company1 --json
    """
    with open_settings_and_database(), snapshot():
        found = full_document(any_seller(seller_id), datetime.now(UTC))
    answer(found, page(found), as_json)


@seller.command("set")
@id_argument
@name_option
@email_option
@support_option
@click.option("--no-support", is_flag=True, help="Show no address for support any more.")
@url_option
@click.option("--no-webhook", is_flag=True, help="Send no more webhooks.")
@wallet_option
@click.option("--no-wallet", is_flag=True, help="Use the default wallet again.")
@json_option
def set_(
    seller_id: str,
    no_support: bool,
    no_webhook: bool,
    no_wallet: bool,
    as_json: bool,
    **values: str | None,
) -> None:
    """Change a seller's fields, such as its wallet. The keys stay.

    A new wallet is for new requests. Requests that exist keep their addresses.

    \b
    manage.py seller set company1 --name "Alpaca Direct" --email a@example.com
    manage.py seller set company1 --support https://shop.example.com/help
    manage.py seller set company1 --webhook-url https://shop.example.com/paid
    manage.py seller set company1 --no-webhook
    manage.py seller set company1 --wallet vault
    """
    removed = {"support": no_support, "webhook_url": no_webhook, "wallet": no_wallet}
    _refuse_contradictions(values, removed)
    wallet = values.pop("wallet")
    now = datetime.now(UTC)
    with open_settings_and_database() as settings:
        refuse_unreachable(values["webhook_url"], settings)
        with database.atomic(), wallets_change(now):
            row = seller_named(seller_id)
            url = values.pop("webhook_url")
            _set(row, values, wallet)
            is_without_webhook = removed.pop("webhook_url")
            new_secret = None
            if url is not None or is_without_webhook:
                new_secret = set_webhook_url(row, url, now)
            for name in (name for name, is_removed in removed.items() if is_removed):
                setattr(row, _COLUMNS.get(name, name), None)
            row.save()
        changed = document(row)
    if new_secret is not None:
        changed["webhook_secret"] = new_secret
    answer(changed, facts(list(changed.items())), as_json)


@seller.command()
@id_argument
@yes_option
@json_option
def remove(seller_id: str, yes: bool, as_json: bool) -> None:
    """Remove a seller. Its keys stop at once.

    Its payments stay open to their end, but it gets no more webhooks. `seller add ID --restore` brings the
    seller back, with a new key. At a terminal the command waits for a confirmation.

    \b
    manage.py seller remove company1
    manage.py seller remove company1 --yes
    """
    with open_settings_and_database():
        seller_named(seller_id)
        warning = f"The API keys of seller {seller_id} stop at once, and the seller gets no more webhooks."
        # The question comes before the transaction, because a waiting transaction would stop all writers.
        confirm(warning, f"Remove seller {seller_id}?", is_confirmed=yes, is_for_scripts=True)
        with database.atomic():
            row = seller_named(seller_id)
            row.removed_at = datetime.now(UTC)
            row.save()
            revoke_all(row.id, row.removed_at)
        removed = document(row)
    answer(removed, f"Seller {seller_id} is removed. Its payments stay.", as_json)


def add_seller(
    seller_id: str,
    values: Mapping[str, str | None],
    wallet: str | None = None,
    *,
    restore: bool,
    now: datetime,
) -> tuple[Seller, str]:
    """Store a seller, and return it with its API key. `values` has its other fields, or None for each.

    `wallet` is the name of its wallet, or None. A removed seller comes back only with `restore`, because the
    new key opens its old payments. Raise CommandError.
    """
    with database.atomic(), wallets_change(now):
        row = Seller.get_or_none(Seller.id == seller_id)
        if row is None and restore:
            raise CommandError(f"there is no seller {seller_id} to restore; all sellers: seller list --all")
        if row is None:
            row = Seller(id=seller_id, created_at=now)
        elif row.removed_at is None:
            raise CommandError(
                f"there is a seller {seller_id} already; to make a new key: seller rotate-key {seller_id}"
            )
        elif not restore:
            raise CommandError(
                f"{was_removed(row)} and its payments are still there; "
                f"to give them a new key: seller add {seller_id} --restore"
            )
        url = values.get("webhook_url")
        _set(row, {name: value for name, value in values.items() if name != "webhook_url"}, wallet)
        row.removed_at = None
        _store(row, is_new=row.created_at == now)
        revoke_all(seller_id, now)
        _, api_key = add_key(seller_id, now, label=FIRST_KEY)
        restart_webhook_secret(row, now)
        if url is not None:
            set_webhook_url(row, url, now)
    return row, api_key


def _refuse_contradictions(values: dict[str, str | None], removed: dict[str, bool]) -> None:
    """Raise UsageError where an option is both set and removed, or where there is nothing to change."""
    options = {"support": "support", "webhook_url": "webhook", "wallet": "wallet"}
    for name, option in options.items():
        if removed[name] and values[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} and --no-{option} contradict each other")
    if not any(removed.values()) and set(values.values()) == {None}:
        allowed = (
            "--name, --email, --support, --no-support, --webhook-url, --no-webhook, --wallet or --no-wallet"
        )
        raise click.UsageError(f"nothing to set: give {allowed}")


def _set(row: Seller, values: dict[str, str | None], wallet: str | None) -> None:
    if wallet is not None:
        row.wallet_id = chosen_wallet(wallet).id
    for name, value in values.items():
        if value is not None:
            setattr(row, name, value)


def _store(row: Seller, is_new: bool) -> None:
    try:
        row.save(force_insert=is_new)
    except peewee.IntegrityError as error:
        # Another process has added it meanwhile.
        raise CommandError(f"there is a seller {row.id} already") from error


def print_secrets(row: Seller, change: str, as_json: bool, line: str = "", **new: str) -> None:
    """Print a change of a seller with its new key or secret. `line` follows for a person."""
    shown = [(name.replace("_", " "), text) for name, text in new.items() if name in _SECRETS]
    lines = facts(shown)
    advice = "Save it now: it is not" if len(shown) == 1 else "Save both now: they are not"
    text = f"Seller {row.id} {change}.\n\n{lines}\n\n{advice} shown again.{line}"
    answer({**document(row), **new}, text, as_json)
