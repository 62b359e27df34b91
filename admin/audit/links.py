"""The comparison of stored payment links with the facts of their requests."""

from collections.abc import Iterable, Iterator

from admin.audit.compare import Difference
from admin.audit.stored import StoredPayment
from models.queries.links import part_facts, single_use_links
from payments.link import is_paid


def link_differences(entries: Iterable[StoredPayment], tip_height: int) -> Iterator[Difference]:
    """Yield each link of these requests that is stored as paid but is not, or is paid but not stored so.

    The outputs come from the database, because the audit of the requests compares them with bitcoind. Must
    run in the snapshot that read the requests.
    """
    ids = {entry.payment.link_id for entry in entries if entry.payment.link_id is not None}
    for link in single_use_links([*ids]):
        was_paid = link.paid_at is not None
        is_true = is_paid(
            link.amount, link.currency, part_facts(link), tip_height=tip_height, was_paid=was_paid
        )
        if is_true != was_paid:
            yield Difference(
                None, f"link {link.reference} is {_text(is_true)}, but is stored as {_text(was_paid)}"
            )


def _text(is_paid: bool) -> str:
    return "paid" if is_paid else "not paid"
