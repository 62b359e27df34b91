"""The operator's first page: open decisions, the health, and all payment requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlencode

from config.command import manage_command
from models.command import acceptances_pending
from models.daemon_status import daemon_report
from models.operator_session import failed_logins
from models.output import outputs_by_address
from models.payment import PaymentRequest
from models.queries.attention import MAX_ACTIONS_COUNTED, ActionNeeded, action_counts
from models.queries.failed_deliveries import FailedDelivery, failed_deliveries
from models.queries.pricing import late_money_of
from models.queries.wallets import NEWEST, wallet_figures
from models.seller import Seller
from payments.gap import gap_advice
from payments.status import Status
from web.api.documents import documents_of
from web.api.forms import Form, read_form
from web.api.payment_list import OperatorFilters, count_of, operator_page_of, page_of
from web.api.schemas import Payment
from web.api.search_limit import OPERATOR_SECONDS, bounded_reading
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Response
from web.monitoring.health import look
from web.operator.decisions import notice_of
from web.operator.layout import operator_page

_PAGE = template("operator_list.tpl")
_SHOWN_OF_EACH = "3"
_PLACES = frozenset({"cursor", "newer"})
"""The parameters that select a page of the list and not its content."""

MAX_COUNTED, MAX_COUNTED_OF_ALL = 10_000, 1_000_000
"""The limits of the counted payments. A filter reads each row, and all payments are counted in an index."""

NEEDS: Mapping[ActionNeeded, tuple[str, str]] = MappingProxyType(
    {
        ActionNeeded.REVERTED: (
            "Taken back",
            (
                "This payment has disappeared again (double-spend or reorg). "
                "Stop the delivery, or contact the customer."
            ),
        ),
        ActionNeeded.LATE: (
            "Late money",
            (
                "The full amount arrived after the price expired. "
                "Accept it at the old price, or refund it once it is confirmed."
            ),
        ),
        ActionNeeded.PART: (
            "Expired, partly paid",
            "Ask the customer for the missing amount, or for an address for a refund once it is confirmed.",
        ),
        ActionNeeded.EXTRA: (
            "Overpaid",
            "Once it is confirmed, ask the customer for an address to refund the surplus, or keep it.",
        ),
        ActionNeeded.UNDELIVERED: (
            "Undeliverable messages",
            "Nodetill gave up after many attempts. Correct the cause, then send the messages again.",
        ),
    }
)
"""The title and the advice of each need, the most urgent first."""


@dataclass(frozen=True, slots=True)
class Row:
    """A request in a list, with the revision on the page. `is_accepted`: its late money is accepted.

    `late` is the sentence on its late money, and `failed` are its undeliverable messages. A list of requests
    that need no decision has neither.
    """

    payment: Payment
    revision: int
    is_accepted: bool
    late: str | None = None
    failed: Sequence[FailedDelivery] = ()


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


def show(request: Request) -> Response:
    """GET /: open decisions and all payments, or the payments that match the filters."""
    given = filled_in(request, OperatorFilters)
    filters = read_form(OperatorFilters, given)
    parameters = {name: value for name, value in given.items() if name not in _PLACES}
    with bounded_reading(OPERATOR_SECONDS):
        page = operator_page_of(filters)
        rows = _rows(page.rows, request, is_open=filters.needs is not None)
        counts = action_counts()
        open_questions = [] if given else _questions(request, counts)
        sellers = [seller.id for seller in Seller.select(Seller.id).order_by(Seller.id)]
        gaps = _gap_lines()
        total = count_of(filters, MAX_COUNTED if parameters else MAX_COUNTED_OF_ALL)
    problems, findings = look(request)
    report = daemon_report()
    return operator_page(
        _PAGE,
        request,
        given=given,
        query=urlencode(parameters),
        place=urlencode(given),
        older_query=_query(parameters, cursor=page.older),
        newer_query=_query(parameters, newer=page.newer),
        need=NEEDS.get(filters.needs) if filters.needs else None,
        filters_beside_need=parameters.keys() - {"needs", "limit"},
        needs=NEEDS,
        rows=rows,
        total=total_line(total, len(rows), MAX_COUNTED if parameters else MAX_COUNTED_OF_ALL),
        questions=open_questions,
        decision_count=_in_title(counts),
        notice=notice_of(request),
        sellers=sellers,
        statuses=list(Status),
        problems=problems,
        complaints=report.problems,
        advice=report.advice,
        gaps=gaps,
        failed_logins=failed_logins(),
        findings=findings,
        is_first_day=not given and not rows,
        public_url=request.settings.public_url,
        command=manage_command(),
    )


def _gap_lines() -> list[str]:
    """Return the advice about the gap limits of the wallet programs."""
    lines = (gap_advice(each.name, each.gap) for each in wallet_figures(NEWEST))
    return [line for line in lines if line is not None]


def filled_in(request: Request, filters: type[Form]) -> dict[str, str]:
    """Return the filters that have a value. A form sends its empty fields too."""
    given = request.page_parameters()
    return {name: text for name in filters.model_fields if (text := given.get(name, "").strip())}


def _questions(request: Request, counts: Mapping[ActionNeeded, int]) -> list[Question]:
    return [Question(need, _count(counts[need]), _newest(need, request)) for need in NEEDS if need in counts]


def _newest(need: ActionNeeded, request: Request) -> list[Row]:
    page, _ = page_of(read_form(OperatorFilters, {"needs": need.value, "limit": _SHOWN_OF_EACH}))
    return _rows(page, request, is_open=True)


def _rows(page: list[PaymentRequest], request: Request, *, is_open: bool) -> list[Row]:
    """Return the rows of a list. `is_open`: they need a decision, so each has what the operator must see."""
    accepted = acceptances_pending(page)
    failed = failed_deliveries(page) if is_open else {}
    late = _late_sentences(page, request) if is_open else {}
    return [
        Row(
            document,
            row.revision,
            row.late_accepted_at is not None or row.id in accepted,
            late.get(row.id),
            failed.get(row.reference, ()),
        )
        for document, row in zip(documents_of(page, request.settings), page, strict=True)
    ]


def _late_sentences(page: list[PaymentRequest], request: Request) -> dict[int, str]:
    outputs = outputs_by_address([row.address_id for row in page])
    age, spread = request.settings.rate_max_age, request.settings.rate_spread
    found = {
        row.id: late_money_of(row, outputs.get(row.address_id, ()), request.now, age, spread) for row in page
    }
    return {row_id: late.sentences() for row_id, late in found.items() if late is not None}


def _query(parameters: Mapping[str, str], **place: str | None) -> str | None:
    """Return the query of another page of this list, or None without a cursor."""
    cursors = {name: value for name, value in place.items() if value is not None}
    return urlencode({**parameters, **cursors}) if cursors else None


def total_line(total: int | None, shown: int, most: int) -> str | None:
    """Return the line on the number of rows in a list, or None where the page has all or counts none."""
    if total is None or total <= shown:
        return None
    return f"{shown:,} of {total:,}{' or more' if total == most else ''}"


def _in_title(counts: Mapping[ActionNeeded, int]) -> str:
    """Return the number of open decisions for the title of the browser's tab, or an empty text."""
    total = sum(counts.values())
    return f"{total}{'+' * (MAX_ACTIONS_COUNTED in counts.values())}" if total else ""


def _count(count: int) -> str:
    return f"{count:,} or more" if count == MAX_ACTIONS_COUNTED else f"{count:,}"
