"""Documents of payment requests, as the API returns them."""

from collections.abc import Iterable, Sequence

from config import Settings
from models.daemon_status import daemon_report
from models.db.connection import get_row, snapshot
from models.output import Output, outputs_by_address
from models.payment import PaymentRequest
from models.queries.links import link_references
from payments.document import payment_document
from web.api.schemas import Payment


def document_of(payment: PaymentRequest, settings: Settings) -> Payment:
    """Return the document of a request. Must run in the snapshot that read the request."""
    return documents_of([payment], settings)[0]


def document_as_now(payment: PaymentRequest, settings: Settings) -> Payment:
    """Read a request again, with its status and the height from one snapshot."""
    with snapshot():
        current = get_row(PaymentRequest, payment.id)
        current.address = payment.address
        return document_of(current, settings)


def document_of_new(payment: PaymentRequest, network: str | None, settings: Settings) -> Payment:
    """Return the document of a new request. No query is needed, because nothing has paid it yet."""
    return _document(payment, (), 0, network, settings)


def documents_of(payments: Sequence[PaymentRequest], settings: Settings) -> list[Payment]:
    """Return the documents in the given order. Confirmations count from the tip of the last assessment."""
    report = daemon_report()
    network = report.network or report.chain
    parts = outputs_by_address([payment.address_id for payment in payments])
    links = link_references(payments)
    return [
        _document(
            p,
            parts.get(p.address_id, []),
            report.assessed_height,
            network,
            settings,
            links.get(p.link_id or 0),
        )
        for p in payments
    ]


def _document(
    payment: PaymentRequest,
    parts: Iterable[Output],
    tip_height: int,
    network: str | None,
    settings: Settings,
    link_reference: str | None = None,
) -> Payment:
    return payment_document(
        payment,
        payment.address.address,
        parts,
        tip_height=tip_height,
        network=network,
        public_url=settings.public_url,
        link_reference=link_reference,
    )
