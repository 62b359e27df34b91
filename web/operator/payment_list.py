"""The operator's first page: open decisions, the health, and all payment requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlencode

from models.command import acceptances_pending
from models.daemon_status import daemon_report
from models.operator_session import failed_logins
from models.payment import PaymentRequest
from models.queries.attention import MOST_COUNTED, ActionNeeded, action_counts
from models.seller import Seller
from payments.status import Status
from web.api.documents import documents_of
from web.api.forms import read_form
from web.api.payment_list import OperatorFilters, page_of
from web.api.schemas import Payment
from web.api.search_limit import OPERATOR_SECONDS, bounded_reading
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Content
from web.monitoring.health import look
from web.operator.layout import operator_page

_PAGE = template("operator_list.tpl")
_SHOWN_OF_EACH = "3"

NEEDS: Mapping[ActionNeeded, tuple[str, str]] = MappingProxyType(
    {
        ActionNeeded.REVERTED: (
            "Taken back",
            "No longer paid after a double-spend or a reorg. Stop the delivery, or contact the customer.",
        ),
        ActionNeeded.LATE: (
            "Late money",
            "The full amount came after the price had expired. Accept it, or return it once it is confirmed.",
        ),
        ActionNeeded.PART: (
            "Expired, partly paid",
            "Ask the customer for the rest, or for an address to return the money to once it is confirmed.",
        ),
        ActionNeeded.EXTRA: (
            "Overpaid",
            "Once it is confirmed, ask the customer for an address to return the excess to, or keep it.",
        ),
        ActionNeeded.UNDELIVERED: (
            "Undeliverable messages",
            "Given up after many attempts. See why, and send them again.",
        ),
    }
)
"""The title and the advice of each need, the most urgent first."""


@dataclass(frozen=True, slots=True)
class Row:
    """A request in a list, with the revision on the page. `is_accepted`: its late money is accepted."""

    payment: Payment
    revision: int
    is_accepted: bool


@dataclass(frozen=True, slots=True)
class Question:
    """A kind of open decision: the number of its requests, and the newest of them."""

    need: ActionNeeded
    count: str
    rows: list[Row]

    @property
    def title(self) -> str:
        """The heading of this kind."""
        return NEEDS[self.need][0]

    @property
    def advice(self) -> str:
        """The advice to the operator."""
        return NEEDS[self.need][1]


def show(call: Request) -> Content:
    """GET /: open decisions and all payments, or the payments that match the filters."""
    given = filled_in(call)
    filters = read_form(OperatorFilters, given)
    with bounded_reading(OPERATOR_SECONDS):
        page, next_cursor = page_of(filters)
        rows = _rows(page, call)
        open_questions = [] if given else _questions(call)
        sellers = [seller.id for seller in Seller.select(Seller.id).order_by(Seller.id)]
    problems, findings = look(call)
    parameters = {name: value for name, value in given.items() if name != "cursor"}
    return operator_page(
        _PAGE,
        call,
        given=given,
        query=urlencode(parameters),
        next_query=urlencode({**parameters, "cursor": next_cursor}) if next_cursor else None,
        need=NEEDS.get(filters.needs) if filters.needs else None,
        needs=NEEDS,
        rows=rows,
        questions=open_questions,
        sellers=sellers,
        statuses=list(Status),
        problems=problems,
        complaints=daemon_report().problems,
        failed_logins=failed_logins(),
        findings=findings,
    )


def filled_in(call: Request) -> dict[str, str]:
    """Return the filters that have a value. A form sends its empty fields too."""
    given = call.page_parameters()
    return {name: text for name in OperatorFilters.model_fields if (text := given.get(name, "").strip())}


def _questions(call: Request) -> list[Question]:
    counts = action_counts()
    return [Question(need, _count(counts[need]), _newest(need, call)) for need in NEEDS if need in counts]


def _newest(need: ActionNeeded, call: Request) -> list[Row]:
    page, _ = page_of(read_form(OperatorFilters, {"needs": need.value, "limit": _SHOWN_OF_EACH}))
    return _rows(page, call)


def _rows(page: list[PaymentRequest], call: Request) -> list[Row]:
    accepted = acceptances_pending(page)
    return [
        Row(document, row.revision, row.late_accepted_at is not None or row.id in accepted)
        for document, row in zip(documents_of(page, call.settings), page, strict=True)
    ]


def _count(count: int) -> str:
    return f"{count:,} or more" if count == MOST_COUNTED else f"{count:,}"
