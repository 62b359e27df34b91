"""The address to which a customer returns: the shop's `redirectURL`, with a value for each placeholder."""

import re
from urllib.parse import quote, urlsplit

from payments.greenfield.checkout_options import redirect_url
from payments.greenfield.facts import InvoiceFacts, metadata_of, order_id_in
from payments.greenfield.state import InvoiceStatus, state_of

_PLACEHOLDER = re.compile(r"\{(InvoiceId|OrderId|Status)\}", re.IGNORECASE)
# RFC 3986: unreserved and reserved characters, and a percent sign before two hex digits.
_ALLOWED = "-._~:/?#[]@!$&'()*+,;=%"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def return_address(facts: InvoiceFacts) -> str | None:
    """Return the address for the link or the redirect, or None if the shop sent none."""
    url = redirect_url(facts)
    order_id = order_id_in(metadata_of(facts))
    return None if url is None else filled_in(url, facts.invoice_id, order_id, state_of(facts).status)


def filled_in(url: str, invoice_id: str, order_id: str | None, status: InvoiceStatus) -> str:
    """Return the address with a percent-encoded value for each placeholder.

    Also encode characters that RFC 3986 forbids, such as `|`. Keep everything else.
    """
    values = {"invoiceid": invoice_id, "orderid": order_id or "", "status": status.value}
    filled = _PLACEHOLDER.sub(lambda match: quote(values[match[1].lower()], safe=""), url)
    return _encoded_host(quote(_LONE_PERCENT.sub("%25", filled), safe=_ALLOWED), filled)


def _encoded_host(url: str, original: str) -> str:
    """Return the URL with its host in IDNA form, if the host has characters outside ASCII."""
    try:
        host = urlsplit(original).hostname or ""
        return url if host.isascii() else url.replace(quote(host), host.encode("idna").decode("ascii"), 1)
    except ValueError:
        return url
