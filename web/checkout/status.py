"""The public fields of a payment request. Anybody with its link may read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

from models.output import DROPPED, MEMPOOL, MINED, REPLACED
from models.queries.checkout import CheckoutOutput, checkout_columns
from payments.document import depth, payment_uri, timestamp
from payments.greenfield.facts import Mark
from payments.greenfield.redirect import filled_in
from payments.greenfield.state import InvoiceStatus, invoice_status
from payments.money import DUST_LIMIT_SATS, format_btc
from payments.status import Status
from web.api.schemas import CheckoutStatus

MAX_QR_LABEL_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicFacts:
    """A payment request as its customer sees it at the time `now`. The other fields are stored.

    `assessed_height` is the tip at which its status was computed. `network` is None before the daemon has
    first reached bitcoind. `seller_name` is empty if the seller has no name. `options` are those of a
    Greenfield invoice, as the shop sent them. `marked` is the shop's mark by hand. `thanks` is the text of
    the payment link that made the request, or "". `is_part` means that all of its money counts for a
    single-use link, whose page requests the rest. A link that was closed unpaid requests nothing.
    """

    now: datetime
    reference: str
    network: str | None
    status: Status
    covered_height: int | None
    assessed_height: int
    confirmations_required: int
    amount_fiat: str
    currency: str
    price: str
    amount_sats: int
    received_sats: int
    due_sats: int
    overpaid_sats: int
    is_late: bool
    txid: str | None
    outputs: tuple[CheckoutOutput, ...]
    address: str
    label: str | None
    order_id: str | None
    seller_id: str
    seller_name: str
    support: str | None
    expires_at: datetime
    received_at: datetime | None
    confirmed_at: datetime | None
    own_redirect_url: str | None
    thanks: str
    is_part: bool
    is_closed: bool
    was_covered: bool
    was_confirmed: bool
    marked: Mark | None
    options: Mapping[str, Any]

    @classmethod
    def read(cls, reference: str, now: datetime) -> Self | None:
        """Return the facts of the stored request with this public identifier, or None."""
        columns = checkout_columns(reference)
        return None if columns is None else cls(now=now, **columns)

    @property
    def confirmations(self) -> int:
        return depth(self.covered_height, self.assessed_height)

    @property
    def payable_sats(self) -> int:
        """The amount to send now. It is 0 for a covered and for an expired request."""
        is_open = self.status in (Status.NEW, Status.UNDERPAID) and self.marked is None
        # The network relays no output below the dust limit, so the customer has to pay a little more.
        return max(self.due_sats, DUST_LIMIT_SATS) if is_open and self.now < self.expires_at else 0

    @property
    def transactions(self) -> Mapping[str, int]:
        """The satoshis of each live transaction to the address, by its id."""
        found: dict[str, int] = {}
        for output in self.outputs:
            if output.state in (MEMPOOL, MINED):
                found[output.txid] = found.get(output.txid, 0) + output.amount_sats
        return found

    @property
    def taken_back(self) -> str | None:
        """`replaced` or `dropped` if an uncovered request has lost a transaction, else None."""
        lost = self._lost
        return lost.state if lost else None

    @property
    def lost_txid(self) -> str | None:
        """The id of that transaction."""
        lost = self._lost
        return lost.txid if lost else None

    @property
    def shop(self) -> str:
        """The name or the id of the seller."""
        return self.seller_name or self.seller_id

    @property
    def subject(self) -> str | None:
        """The label below the shop's name, or None if the label itself names the payee."""
        # A label such as "Alpaca Direct, order 17" has the name of the shop already.
        is_named = self.seller_name.casefold() in (self.label or "").casefold()
        return None if is_named else self.label

    @property
    def payee(self) -> str:
        """The shop's name if there is a subject, else the label, else the name or the id of the seller."""
        return self.shop if self.subject else self.label or self.shop

    @property
    def is_final(self) -> bool:
        """True if no further change is expected.

        A payment that needs no confirmation is confirmed at once, but a double-spend can still take it back.
        """
        return self.is_closed or (self.status is Status.CONFIRMED and self.confirmations > 0)

    @property
    def invoice_status(self) -> InvoiceStatus:
        """The status of the same request as a Greenfield invoice."""
        return invoice_status(
            self.status, self.marked, was_covered=self.was_covered, was_confirmed=self.was_confirmed
        )

    @property
    def default_language(self) -> str | None:
        return self.options.get("defaultLanguage")

    @property
    def redirect_url(self) -> str | None:
        """The shop's page for this status. Only a Greenfield invoice has placeholders in its address."""
        url = self.options.get("redirectURL") or self.own_redirect_url
        filled = url and filled_in(url, self.reference, self.order_id, self.invoice_status)
        return web_address(filled)

    @property
    def return_url(self) -> str | None:
        """The shop's page to which the checkout page redirects, or None."""
        is_paid = self.invoice_status in (InvoiceStatus.PROCESSING, InvoiceStatus.SETTLED)
        return self.redirect_url if is_paid and self.options.get("redirectAutomatically") else None

    @property
    def payment_uri(self) -> str | None:
        """The BIP21 URI of the payable amount, or None if nothing is payable."""
        return self._uri(self.label)

    @property
    def wallet_uri(self) -> str | None:
        """The same URI for the page's link to a wallet. Its label also has the seller's name."""
        return self._uri(self._wallet_label)

    @property
    def qr_uri(self) -> str | None:
        """`wallet_uri` for a QR code. It omits a long label, which would make the code hard to scan."""
        labels = (self._wallet_label, self.label)
        short = (each for each in labels if each and len(quote(each, safe="")) <= MAX_QR_LABEL_CHARACTERS)
        return self._uri(next(short, None))

    @property
    def document(self) -> CheckoutStatus:
        """The facts as JSON values. This is a list of public fields, so a new column stays private."""
        return CheckoutStatus(
            payment_request_id=self.reference,
            status=self.status,
            confirmations=self.confirmations,
            confirmations_required=self.confirmations_required,
            amount_fiat=self.amount_fiat,
            currency=self.currency,
            amount_btc=format_btc(self.amount_sats),
            amount_sats=self.amount_sats,
            received_sats=self.received_sats,
            due_sats=self.due_sats,
            overpaid_sats=self.overpaid_sats,
            late=self.is_late,
            taken_back=self.taken_back,
            txid=self.txid,
            txids=list(self.transactions),
            address=self.address,
            payment_uri=self.payment_uri,
            label=self.label,
            expires_at=timestamp(self.expires_at),
            redirect_url=self.redirect_url,
            marked=self.marked,
            final=self.is_final,
        )

    @property
    def _lost(self) -> CheckoutOutput | None:
        """The latest output of a lost transaction of an uncovered request, or None.

        A transaction is not lost if its replacement pays the same request.
        """
        if self.status.is_covered:
            return None
        by_txid = {output.txid: output for output in self.outputs}
        lost = [
            output
            for output in self.outputs
            if output.state in (REPLACED, DROPPED) and not _is_still_paid(output, by_txid)
        ]
        return lost[-1] if lost else None

    @property
    def _wallet_label(self) -> str | None:
        return f"{self.payee}, {self.subject}" if self.subject else self.label or self.seller_name

    def _uri(self, label: str | None) -> str | None:
        return payment_uri(self.address, self.payable_sats, label) if self.payable_sats else None


def web_address(url: str | None) -> str | None:
    """Return the URL if it is http or https, else None. The form has checked it; this is a second defence."""
    return url if url is not None and url.lower().startswith(("https://", "http://")) else None


def _is_still_paid(output: CheckoutOutput, by_txid: Mapping[str, CheckoutOutput]) -> bool:
    """Return whether a replacement of this output, direct or indirect, still pays the same request."""
    for _ in by_txid:
        replacement = by_txid.get(output.replaced_by or "")
        if replacement is None or replacement.state == DROPPED:
            return False
        if replacement.state != REPLACED:
            return True
        output = replacement
    return False
