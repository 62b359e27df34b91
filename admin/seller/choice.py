"""The seller that an argument of a command names."""

import click

from admin.checked import Checked
from admin.cli import CommandError
from config.types import InvalidValue, SettingType
from models.seller import SELLER_ID, Seller
from payments.document import timestamp


def _read_seller_id(text: str) -> str:
    if not SELLER_ID.fullmatch(text):
        raise InvalidValue("is no id for a seller")
    return text


seller_id_type = Checked(
    "id", SettingType(_read_seller_id, "1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit")
)
seller_argument = click.argument("seller_id", metavar="SELLER", type=seller_id_type)
optional_seller_argument = click.argument(
    "seller_id", metavar="[SELLER]", type=seller_id_type, required=False
)


def seller_named(seller_id: str) -> Seller:
    """Return the seller with this id. Raise CommandError where there is none, or where it is removed."""
    row = any_seller(seller_id)
    if row.removed_at is not None:
        raise CommandError(f"{was_removed(row)}; to bring it back: seller add {seller_id} --restore")
    return row


def any_seller(seller_id: str) -> Seller:
    """Return the seller with this id, even a removed one. Raise CommandError where there is none."""
    row: Seller | None = Seller.get_or_none(Seller.id == seller_id)
    if row is None:
        raise CommandError(f"there is no seller {seller_id}; all sellers: seller list --all")
    return row


def was_removed(row: Seller) -> str:
    """Return that the seller was removed, and when, as the beginning of a sentence."""
    return f"seller {row.id} was removed at {timestamp(row.removed_at)}"
