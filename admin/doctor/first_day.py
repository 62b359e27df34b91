"""Checks of what a working installation still needs before it can do business."""

from collections.abc import Callable
from urllib.parse import urlsplit

from admin.doctor.findings import Finding, advice, ok
from config import Settings
from config.addresses import is_loopback
from config.command import manage_command
from models.seller import Seller
from models.webhook import endpoints_of

MAX_NAMED = 3
DEFAULT_DOMAIN = "localhost"


def public_url_finding(settings: Settings) -> Finding:
    """Return whether customers on other machines can open their links."""
    url = settings.public_url
    host = urlsplit(url).hostname or ""
    if host == DEFAULT_DOMAIN or is_loopback(host):
        return advice(
            "public url",
            f"the links for customers begin with {url}, which opens on this machine only: "
            "set PUBLIC_URL=https://YOUR.NAME",
        )
    return ok("public url", f"the links for customers begin with {url}")


def email_finding(settings: Settings) -> Finding:
    """Return whether the sender and the recipient of the operator's emails are on other machines."""
    named = {"MAIL_FROM": settings.mail_from, "OPERATOR_EMAIL": settings.operator_email}
    local = [name for name, address in named.items() if address.rpartition("@")[2] == DEFAULT_DOMAIN]
    if local:
        shown = " and ".join(f"{name} is {named[name]}" for name in local)
        cure = ", ".join(f"{name}=NAME@YOUR.DOMAIN" for name in local)
        return advice("email", f"{shown}, an address of this machine only: set {cure}")
    return ok("email", f"from {settings.mail_from} to {settings.operator_email}")


def seller_finding() -> Finding:
    """Return whether there are sellers, and if each has a webhook, a name and a support contact.

    The database must be readable.
    """
    sellers = list(Seller.select().where(Seller.removed_at.is_null()).order_by(Seller.id))
    if not sellers:
        return advice(
            "sellers",
            f"there is none, so no shop can create a request: {manage_command()} seller add company1",
        )
    lacks = (
        ("webhook", "the shop has to read each status", "--webhook-url URL", _ids(sellers, _has_no_endpoint)),
        ("name", "customers and emails see the id", "--name NAME", _ids(sellers, lambda row: not row.name)),
        (
            "support contact",
            "a customer with a problem finds no help",
            "--support ADDRESS",
            _ids(sellers, lambda row: not row.support),
        ),
    )
    found = [
        f"{_shortened(ids)} without a {part}, so {effect}: {manage_command()} seller set {ids[0]} {option}"
        for part, effect, option, ids in lacks
        if ids
    ]
    if found:
        return advice("sellers", "; ".join(found))
    return ok("sellers", f"{len(sellers)}, each with a webhook, a name and a support contact")


def _ids(sellers: list[Seller], lacks: Callable[[Seller], bool]) -> list[str]:
    return [row.id for row in sellers if lacks(row)]


def _has_no_endpoint(row: Seller) -> bool:
    return not endpoints_of(row)


def _shortened(ids: list[str]) -> str:
    more = len(ids) - MAX_NAMED
    return ", ".join(ids[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
