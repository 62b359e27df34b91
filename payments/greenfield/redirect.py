"""The address to which a customer returns: the shop's `redirectURL`, with a value for each placeholder."""

import re
from urllib.parse import quote, urlsplit

from payments.greenfield.state import InvoiceStatus

_PLACEHOLDER = re.compile(r"\{(InvoiceId|OrderId|Status)\}", re.IGNORECASE)
# RFC 3986: unreserved and reserved characters, and a percent sign before two hex digits.
_ALLOWED = "-._~:/?#[]@!$&'()*+,;=%"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


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
