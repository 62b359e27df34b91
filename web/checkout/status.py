"""What anybody who has a payment's link may know of it: a list of fields, not everything minus some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from urllib.parse import quote

from models.output import DROPPED, REPLACED
from models.queries.checkout import Checkout, Part
from payments.document import depth, payment_uri, timestamp
from payments.money import DUST_LIMIT_SATS, format_btc
from payments.status import Status
from web.api.schemas import CheckoutStatus

_QR_LABEL_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class PublicFacts:
    """A payment request as its customer sees it.

    `payable_sats` is what is to be sent now: 0 once it is covered or its time is up. `taken_back` says of a
    request that is not covered how a transaction to it went: "replaced", "dropped", or None where none did.
    `is_final` where nothing more is expected to happen to it.
    """

    reference: str
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
    txid: str | None
    address: str
    label: str | None
    expires_at: datetime
    redirect_url: str | None
    is_final: bool

    @classmethod
    def read(cls, payment: Checkout, now: datetime) -> Self:
        """Off what is stored of it."""
        status = Status(payment.status)
        is_payable = status in (Status.NEW, Status.UNDERPAID) and now < payment.expires_at
        return cls(
            reference=payment.reference,
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
            # A rest so small that the network relays no payment of it can only be paid with a little more.
            payable_sats=max(payment.due_sats, DUST_LIMIT_SATS) if is_payable else 0,
            is_late=payment.is_late,
            taken_back=None if status.is_covered else _taken_back(payment.parts),
            txid=payment.txid,
            address=payment.address,
            label=payment.label,
            expires_at=payment.expires_at,
            redirect_url=_web_address(payment.redirect_url),
            is_final=status is Status.CONFIRMED or payment.is_closed,
        )

    @property
    def payment_uri(self) -> str | None:
        """A BIP21 URI for what is to be sent now; None where nothing is."""
        return payment_uri(self.address, self.payable_sats, self.label) if self.payable_sats else None

    @property
    def qr_uri(self) -> str | None:
        """The same for a camera, which a long label would make hard to read."""
        is_short = len(quote(self.label or "", safe="")) <= _QR_LABEL_CHARACTERS
        label = self.label if is_short else None
        return payment_uri(self.address, self.payable_sats, label) if self.payable_sats else None

    @property
    def document(self) -> CheckoutStatus:
        """As JSON values. Never the seller, the note or the metadata."""
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
            address=self.address,
            payment_uri=self.payment_uri,
            label=self.label,
            expires_at=timestamp(self.expires_at),
            redirect_url=self.redirect_url,
            final=self.is_final,
        )


def _web_address(url: str | None) -> str | None:
    """Checked when it was stored, and again here: nothing but the web may stand behind a link."""
    return url if url is not None and url.lower().startswith(("https://", "http://")) else None


def _taken_back(parts: Sequence[Part]) -> str | None:
    """How the latest transaction went that is gone for good: one with more fee that pays here too is none."""
    by_txid = {part.txid: part for part in parts}
    gone = [
        part.state for part in parts if part.state in (REPLACED, DROPPED) and not _lives_on(part, by_txid)
    ]
    return gone[-1] if gone else None


def _lives_on(part: Part, by_txid: Mapping[str, Part]) -> bool:
    """Whether what replaced it, or what replaced that in turn, is a payment to the same request."""
    for _ in by_txid:
        heir = by_txid.get(part.replaced_by or "")
        if heir is None or heir.state == DROPPED:
            return False
        if heir.state != REPLACED:
            return True
        part = heir
    return False
