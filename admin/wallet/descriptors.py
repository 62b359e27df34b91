"""`manage.py wallet add`, `list`, `default` and `labels`: wallets of descriptors, and their users."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import peewee

from admin.checked import Checked
from admin.cli import CommandError, answer, json_option, open_settings_and_database, print_json
from admin.operator_rpc import OperatorRpc
from admin.terminal import table
from admin.wallet.choice import chosen_wallet, wallets_change
from admin.wallet.descriptor_check import CheckedKey, check_key, next_unused
from config import Settings
from config.types import InvalidValue, SettingType
from models.db.connection import database
from models.queries.wallets import PaidAddress, WalletFigures, paid_addresses, wallet_figures
from models.wallet import (
    BITCOIND_NAME,
    MAX_INDEX,
    WALLET_NAME,
    Wallet,
    make_default,
    wallet_added,
    wallet_by_script,
    wallet_named,
)
from payments.extended_key import ADDRESS_TYPES

NAMES = "1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit"
MAX_LABEL = 255
"""BIP 329 recommends this limit of a label."""


def _read_type(text: str) -> str:
    if text not in ADDRESS_TYPES:
        raise InvalidValue("is no type of addresses")
    return text


@click.command()
@click.argument("name", metavar="NAME")
# Words of a seed are several arguments. click would print them in its own error.
@click.argument("key", metavar="KEY", nargs=-1, required=True)
@click.option(
    "--type",
    "address_type",
    type=Checked("type", SettingType(_read_type, ", ".join(ADDRESS_TYPES)), hidden=True),
    help=f"The addresses of an extended public key: {', '.join(ADDRESS_TYPES)}.",
)
@click.option(
    "--start-index",
    type=click.IntRange(0, MAX_INDEX),
    metavar="N",
    help="Begin at this index, and do not search the chain for used addresses.",
)
@click.option("--default", "is_default", is_flag=True, help="Use the wallet for all sellers without one.")
@json_option
def add(
    name: str,
    key: tuple[str, ...],
    address_type: str | None,
    start_index: int | None,
    is_default: bool,
    as_json: bool,
) -> None:
    """Add the wallet NAME, whose addresses bitcoind derives from KEY.

    KEY is an output descriptor that ends in /*, or an extended public key (xpub, ypub, zpub, tpub, upub or
    vpub). bitcoind needs no wallet for it. Give Nodetill an account of its own, because two programs that use
    one account assign the same addresses.

    The command prints the first three addresses. Compare them with your device. It searches the chain for
    addresses with unspent coins, and the wallet starts after the last one. The search takes minutes on the
    main network. It can't find coins that are spent already. If the account has received payments before,
    give --start-index.

    \b
    manage.py wallet add shop zpub6rFR7y4Q2AijBEqTUqu... --default
    manage.py wallet add vault "wpkh([d34db33f/84h/0h/0h]xpub.../<0;1>/*)"
    manage.py wallet add old xpub6BosfCnifzx... --type legacy --start-index 250
    """
    _refuse_bad_name(name)
    if len(key) != 1:
        raise click.UsageError(
            "KEY is one argument: put a descriptor between quotes. Never type the words of a seed here"
        )
    with open_settings_and_database() as settings:
        document, checked = _add(settings, name, key[0], address_type, start_index, is_default=is_default)
    answer(document, _added_text(document, checked), as_json)


def _add(
    settings: Settings,
    name: str,
    text: str,
    address_type: str | None,
    start_index: int | None,
    *,
    is_default: bool,
) -> tuple[dict[str, Any], CheckedKey]:
    if wallet_named(name) is not None:
        raise _name_is_taken(name)
    rpc = OperatorRpc(settings)
    try:
        checked = check_key(rpc, text, address_type)
        _refuse_second_time(checked)
        if start_index is None:
            click.echo("Searching the chain for used addresses; --start-index N skips this.", err=True)
        index = next_unused(rpc, checked.descriptor, start_index)
    finally:
        rpc.close()
    if index > MAX_INDEX:
        raise CommandError(f"the descriptor has no addresses left: index {index} is above {MAX_INDEX}")
    _store(name, checked, index, is_default=is_default)
    document = {
        "wallet": name,
        "type": checked.address_type,
        "default": is_default,
        "descriptor": checked.descriptor,
        "next_index": index,
        "addresses": list(checked.addresses),
    }
    return document, checked


def _store(name: str, checked: CheckedKey, index: int, *, is_default: bool) -> None:
    now = datetime.now(UTC)
    try:
        with database.atomic(), wallets_change(now):
            row = wallet_added(
                name, checked.descriptor, checked.first_script, checked.address_type, index, now
            )
            if is_default:
                make_default(row)
    except peewee.IntegrityError as error:
        # Another command has added it meanwhile.
        _refuse_second_time(checked)
        raise _name_is_taken(name) from error


@click.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the wallets.

    NEXT is the index of the next address, and LAST PAID the highest index that was paid. GAP is the longest
    run of unpaid addresses. The gap limit of your wallet program must be higher.

    \b
    manage.py wallet list
    manage.py wallet list --json
    """
    with open_settings_and_database():
        figures = wallet_figures()
    rows = [
        [
            each.name,
            each.address_type,
            _yes(each.is_default),
            each.free,
            each.next_index,
            each.last_paid_index,
            each.gap,
        ]
        for each in figures
    ]
    shown = [["" if value is None else str(value) for value in row] for row in rows]
    columns = ["NAME", "TYPE", "DEFAULT", "FREE", "NEXT", "LAST PAID", "GAP"]
    answer([_document(each) for each in figures], table(columns, shown), as_json)


@click.command()
@click.argument("name", metavar="NAME")
@json_option
def default(name: str, as_json: bool) -> None:
    """Use the wallet NAME for all sellers that have none of their own.

    \b
    manage.py wallet default shop
    manage.py wallet default bitcoind    the wallet BITCOIND_WALLET in bitcoind
    """
    with open_settings_and_database():
        now = datetime.now(UTC)
        with database.atomic(), wallets_change(now):
            make_default(chosen_wallet(name))
    answer({"wallet": name, "default": True}, f"The default wallet is {name}.", as_json)


@click.command()
@click.argument("name", metavar="NAME")
@json_option
def labels(name: str, as_json: bool) -> None:
    """Print labels for your wallet program, as BIP 329 defines them.

    Each line names the order and the request of an address or of a transaction. Sparrow imports the file by
    File, Import Labels. With --json the lines are one document.

    \b
    manage.py wallet labels shop > labels.jsonl
    """
    with open_settings_and_database():
        found = _labels(chosen_wallet(name))
        if as_json:
            print_json(list(found))
            return
        for label in found:
            click.echo(json.dumps(label, ensure_ascii=False))


def _labels(wallet: Wallet) -> Iterator[dict[str, str]]:
    """Yield the labels of the addresses that have a request, and of the transactions that pay them."""
    by_txid: dict[str, list[str]] = {}
    for row in paid_addresses(wallet.id):
        text = _label(row)
        yield _bip329("addr", row.address, text)
        for txid in row.txids:
            by_txid.setdefault(txid, []).append(text)
    for txid, texts in by_txid.items():
        yield _bip329("tx", txid, "; ".join(texts))


def _label(row: PaidAddress) -> str:
    """Return the order's text with the request's id."""
    order = row.order_id or row.note or row.label or ""
    return f"{order} ({row.reference})" if order else row.reference


def _bip329(kind: str, ref: str, label: str) -> dict[str, str]:
    shown = label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 1]}…"
    return {"type": kind, "ref": ref, "label": shown}


def _refuse_bad_name(name: str) -> None:
    """Raise UsageError for a bad name. The error does not repeat it, because it may be a key."""
    if not WALLET_NAME.fullmatch(name):
        raise click.UsageError(f"NAME is no name for a wallet; allowed: {NAMES}")
    if name == BITCOIND_NAME:
        raise click.UsageError(
            f"{BITCOIND_NAME} is the name of the wallet in bitcoind (BITCOIND_WALLET): choose another name"
        )


def _refuse_second_time(checked: CheckedKey) -> None:
    found = wallet_by_script(checked.first_script)
    if found is not None:
        raise CommandError(
            f"these keys are the wallet {found.name} already, because they have the same addresses; "
            f"to use it: wallet default {found.name}, or seller set ID --wallet {found.name}"
        )


def _name_is_taken(name: str) -> CommandError:
    return CommandError(f"there is a wallet {name} already: choose another name; all wallets: wallet list")


def _added_text(document: dict[str, Any], checked: CheckedKey) -> str:
    name, first = document["wallet"], "\n".join(f"  {address}" for address in checked.addresses)
    lines = [f"The wallet {name} is added. Compare its first addresses with your device:", "", first, ""]
    if checked.is_guessed:
        lines.append(
            "The key has the prefix of legacy addresses, which many programs use for all types. If your "
            "device shows other addresses, add the key under another name, with --type."
        )
    lines.append(f"The next address has the index {document['next_index']}.")
    if not document["default"]:
        lines.append(f"To use it: wallet default {name}, or seller set ID --wallet {name}")
    return "\n".join(lines)


def _document(each: WalletFigures) -> dict[str, Any]:
    return {
        "wallet": each.name,
        "type": each.address_type,
        "default": each.is_default,
        "in_use": each.is_used,
        "free": each.free,
        "next_index": each.next_index,
        "last_paid_index": each.last_paid_index,
        "gap": each.gap,
    }


def _yes(value: bool) -> str:
    return "yes" if value else ""
