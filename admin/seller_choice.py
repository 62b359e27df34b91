"""The seller that an argument of a command names."""

from admin.cli import CommandError
from models.seller import Seller
from payments.document import timestamp


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
