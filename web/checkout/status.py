"""The public fields of a payment request. Anybody with its link may read them.

This is a list of the public fields, not a filter of private ones, so a new field stays private.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from urllib.parse import quote

from models.output import DROPPED, MEMPOOL, MINED, REPLACED
from models.queries.checkout import Checkout, Part
from payments.document import depth, payment_uri, timestamp
from payments.greenfield.facts import Mark
from payments.greenfield.redirect import filled_in
from payments.greenfield.state import InvoiceStatus, invoice_status
from payments.money import DUST_LIMIT_SATS, format_btc
from payments.status import Status
from web.api.schemas import CheckoutStatus

_QR_LABEL_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class PublicFacts:
    """A payment request as its customer sees it.

    `payable_sats` is the amount to send now. It is 0 for a covered and for an expired request. `transactions`
    has the satoshis of each live transaction by its id. `taken_back` is "replaced" or "dropped" if an
    uncovered request has lost a transaction, else None, and `lost_txid` is that transaction. `seller_name` is
    empty if the seller has no name. `payee` is the name that the page shows as the recipient. `thanks` and
    `is_part` come from `Checkout`. `is_final` means that no further change is expected. `marked` is the
    shop's mark by hand. `invoice_status` is the status of the same request as a Greenfield invoice.
    `is_returning` means that the page redirects a customer who has paid to the shop.
    """

    reference: str
    network: str | None
    status: Status
    confirmations: int
    confirmations_required: int
    amount_fiat: str
    currency: str
    price: str
    amount_sats: int
    received_sats: int
    due_sats: int
    overpaid_sats: int
    payable_sats: int
    is_late: bool
    taken_back: str | None
    lost_txid: str | None
    txid: str | None
    transactions: Mapping[str, int]
    address: str
    label: str | None
    order_id: str | None
    payee: str
    seller_name: str
    support: str | None
    expires_at: datetime
    received_at: datetime | None
    confirmed_at: datetime | None
    redirect_url: str | None
    thanks: str
    is_part: bool
    is_final: bool
    marked: Mark | None
    invoice_status: InvoiceStatus
    is_returning: bool
    default_language: str | None

    @classmethod
    def read(cls, payment: Checkout, now: datetime) -> Self:
        """Return the facts of a stored request."""
        status = Status(payment.status)
        mark = None if payment.marked is None else Mark(payment.marked)
        invoice = invoice_status(
            status, mark, was_covered=payment.was_covered, was_confirmed=payment.was_confirmed
        )
        lost = None if status.is_covered else _lost(payment.parts)
        is_open = status in (Status.NEW, Status.UNDERPAID) and mark is None
        is_payable = is_open and now < payment.expires_at
        return cls(
            reference=payment.reference,
            network=payment.network,
            status=status,
            confirmations=depth(payment.covered_height, payment.assessed_height),
            confirmations_required=payment.confirmations_required,
            amount_fiat=payment.amount_fiat,
            currency=payment.currency,
            price=payment.price,
            amount_sats=payment.amount_sats,
            received_sats=payment.received_sats,
            due_sats=payment.due_sats,
            overpaid_sats=payment.overpaid_sats,
            # The network relays no output below the dust limit, so the customer has to pay a little more.
            payable_sats=max(payment.due_sats, DUST_LIMIT_SATS) if is_payable else 0,
            is_late=payment.is_late,
            taken_back=lost.state if lost else None,
            lost_txid=lost.txid if lost else None,
            txid=payment.txid,
            transactions=_live_transactions(payment.parts),
            address=payment.address,
            label=payment.label,
            order_id=payment.order_id,
            payee=payment.label or payment.seller_name or payment.seller_id,
            seller_name=payment.seller_name,
            support=payment.support,
            expires_at=payment.expires_at,
            received_at=payment.received_at,
            confirmed_at=payment.confirmed_at,
            redirect_url=web_address(_redirect_url(payment, invoice)),
            thanks=payment.thanks,
            is_part=payment.is_part,
            is_final=status is Status.CONFIRMED or payment.is_closed,
            marked=mark,
            invoice_status=invoice,
            is_returning=bool(payment.options.get("redirectAutomatically")),
            default_language=payment.options.get("defaultLanguage"),
        )

    @property
    def return_url(self) -> str | None:
        """The shop's page to which the checkout page redirects, or None."""
        is_paid = self.invoice_status in (InvoiceStatus.PROCESSING, InvoiceStatus.SETTLED)
        return self.redirect_url if is_paid and self.is_returning else None

    @property
    def payment_uri(self) -> str | None:
        """The BIP21 URI of the payable amount, or None if nothing is payable."""
        return self._uri(self.label)

    @property
    def wallet_uri(self) -> str | None:
        """The same URI for the page's link to a wallet. The seller's name stands for a missing label."""
        return self._uri(self.label or self.seller_name)

    @property
    def qr_uri(self) -> str | None:
        """`wallet_uri` for a QR code. It omits a long label, which would make the code hard to scan."""
        label = self.label or self.seller_name
        return self._uri(label if len(quote(label, safe="")) <= _QR_LABEL_CHARACTERS else None)

    @property
    def document(self) -> CheckoutStatus:
        """The facts as JSON values, without the seller, the note and the metadata."""
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

    def _uri(self, label: str | None) -> str | None:
        return payment_uri(self.address, self.payable_sats, label) if self.payable_sats else None


def _redirect_url(payment: Checkout, status: InvoiceStatus) -> str | None:
    """Return the shop's page for this status. Only a Greenfield invoice has placeholders in its address."""
    url = payment.options.get("redirectURL") or payment.redirect_url
    return None if url is None else filled_in(url, payment.reference, payment.order_id, status)


def web_address(url: str | None) -> str | None:
    """Return the URL if it is http or https, else None. The form has checked it; this is a second defence."""
    return url if url is not None and url.lower().startswith(("https://", "http://")) else None


def _live_transactions(parts: Sequence[Part]) -> Mapping[str, int]:
    """Return the satoshis of each live transaction to the address, by its id."""
    found: dict[str, int] = {}
    for part in parts:
        if part.state in (MEMPOOL, MINED):
            found[part.txid] = found.get(part.txid, 0) + part.amount_sats
    return found


def _lost(parts: Sequence[Part]) -> Part | None:
    """Return the latest output of a lost transaction, or None.

    A transaction is not lost if its replacement pays the same request.
    """
    by_txid = {part.txid: part for part in parts}
    lost = [part for part in parts if part.state in (REPLACED, DROPPED) and not _is_still_paid(part, by_txid)]
    return lost[-1] if lost else None


def _is_still_paid(part: Part, by_txid: Mapping[str, Part]) -> bool:
    """Return whether a replacement of this output, direct or indirect, still pays the same request."""
    for _ in by_txid:
        replacement = by_txid.get(part.replaced_by or "")
        if replacement is None or replacement.state == DROPPED:
            return False
        if replacement.state != REPLACED:
            return True
        part = replacement
    return False
