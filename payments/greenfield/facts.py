"""The facts of an invoice of BTCPay's Greenfield API, which is a payment request (docs/greenfield.md)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from payments.document import StoredRequest
from payments.status import ReceivedOutput, Status, Terms

MAX_ORDER_ID_CHARACTERS = 500


class Mark(StrEnum):
    """A mark by hand, as the column `payment_request.marked` stores it."""

    SETTLED = "settled"
    INVALID = "invalid"


class StoredInvoice(StoredRequest, Protocol):
    """A stored payment request, with the further fields that only an invoice has."""

    checkout: Mapping[str, Any] | None
    archived_at: datetime | None
    marked: str | None
    first_covered_at: datetime | None
    first_confirmed_at: datetime | None

    @property
    def terms(self) -> Terms: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFacts:
    """The facts of one invoice, at the tip at which its status was computed.

    `was_covered` and `was_confirmed` stay true after the money is gone. `outputs` has every output to the
    address, also replaced and dropped outputs.
    """

    invoice_id: str
    store_id: str
    amount: str
    currency: str
    price: str
    address: str
    terms: Terms
    created_at: datetime
    status: Status
    outputs: tuple[ReceivedOutput, ...]
    tip_height: int
    label: str | None = None
    order_id: str | None = None
    redirect_url: str | None = None
    metadata: Mapping[str, Any]
    checkout: Mapping[str, Any] | None = None
    mark: Mark | None = None
    is_archived: bool = False
    is_late: bool = False
    was_covered: bool = False
    was_confirmed: bool = False
    confirmed_at: datetime | None = None

    @property
    def live_outputs(self) -> list[ReceivedOutput]:
        """Return the outputs with money that are not replaced or dropped, in the order of arrival."""
        live = (output for output in self.outputs if output.is_live and output.amount_sats)
        return sorted(live, key=lambda output: output.first_seen_order)

    @property
    def received_sats(self) -> int:
        """Return the amount of the live outputs, including late and extra money."""
        return sum(output.amount_sats for output in self.live_outputs)

    @property
    def settled_outputs(self) -> list[ReceivedOutput]:
        """Return the live outputs with the required confirmations, in the order of arrival.

        While the request is confirmed, the list includes the outputs that cover it, even if a reorg has
        reduced their confirmations.
        """
        settled = {id_of(output) for output in self.live_outputs if self._is_deep(output)}
        if self.status is Status.CONFIRMED:
            settled.update(id_of(output) for output in self._cover())
        return [output for output in self.live_outputs if id_of(output) in settled]

    def _is_deep(self, output: ReceivedOutput) -> bool:
        return output.confirmed_height(self.terms.confirmations_required) <= self.tip_height

    def _cover(self) -> Iterable[ReceivedOutput]:
        """Yield the outputs that count, the deepest first, until they cover the request."""
        counted = [output for output in self.live_outputs if self.terms.accepts(output)]
        total = 0
        for output in sorted(counted, key=lambda o: o.confirmed_height(self.terms.confirmations_required)):
            if total >= self.terms.needed_sats:
                return
            total += output.amount_sats
            yield output


def invoice_facts(
    request: StoredInvoice, address: str, outputs: Iterable[ReceivedOutput], *, tip_height: int
) -> InvoiceFacts:
    """Return the facts of a stored request. `tip_height` is the height that the daemon has published."""
    return InvoiceFacts(
        invoice_id=request.reference,
        store_id=request.seller_id,
        amount=request.amount_fiat,
        currency=request.currency,
        price=request.price,
        address=address,
        terms=request.terms,
        created_at=request.created_at,
        status=Status(request.status),
        outputs=tuple(outputs),
        tip_height=tip_height if request.unpublished_height is None else request.unpublished_height,
        label=request.label,
        order_id=request.order_id,
        redirect_url=request.redirect_url,
        metadata=request.metadata,
        checkout=request.checkout,
        mark=next((mark for mark in Mark if mark.value == request.marked), None),
        is_archived=request.archived_at is not None,
        is_late=request.is_late,
        was_covered=request.first_covered_at is not None,
        was_confirmed=request.first_confirmed_at is not None,
        confirmed_at=request.confirmed_at,
    )


def id_of(output: ReceivedOutput) -> str:
    """Return the id of a payment. Clients read the part before the first hyphen as the transaction's id."""
    return f"{output.txid}-{output.vout}"


def metadata_of(facts: InvoiceFacts) -> dict[str, Any]:
    """Return the metadata that the shop sent. A request of the native API has its `order_id` as `orderId`."""
    if facts.checkout is None and facts.order_id is not None:
        return {"orderId": facts.order_id, **facts.metadata}
    return dict(facts.metadata)


def order_id_in(metadata: Mapping[str, Any]) -> str | None:
    """Return `orderId` as text for the column `order_id`, or None if it is missing or unusable.

    Some shops send a number. A PostgreSQL index refuses a long text, and PostgreSQL refuses a NUL character.
    """
    named = metadata.get("orderId")
    is_named = isinstance(named, (str, int)) and not isinstance(named, bool)
    text = str(named) if is_named else ""
    return text if 0 < len(text) <= MAX_ORDER_ID_CHARACTERS and "\0" not in text else None
