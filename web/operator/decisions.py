"""The operator's decisions: accept late money, cancel, mark as done, undo a mark, redeliver messages."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

import structlog

from models.db.connection import from_microseconds
from models.decision import (
    MAX_COMMENT_CHARACTERS,
    DecidedBy,
    Decision,
    DecisionKind,
    decisions_at,
    is_comment,
    last_decision,
)
from models.outbox import messages_of_payment
from models.payment import PaymentRequest, payment_by_reference
from models.queries.attention import ActionNeeded, acknowledge, actions_for, reopen
from web.api.events import send_again
from web.api.payments import queue_acceptance, queue_cancellation
from web.http.request import Request
from web.http.responses import FieldError, Problem, Response, invalid, not_found
from web.operator.layout import is_our_path, see_other

log = structlog.get_logger(__name__)

_OPERATOR = "operator"
_MAX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Notice:
    """The line about the newest decision. `undo_at` is set if the operator can undo the decision."""

    text: str
    undo_at: str | None = None


def accept(request: Request, reference: str) -> Response:
    """POST /operator/payments/{id}/accept: request that the daemon counts late money, as the API does."""
    queue_acceptance(request, payment_or_404(reference), DecidedBy.PAGE)
    return _back(request, _page_of(reference))


def cancel(request: Request, reference: str) -> Response:
    """POST /operator/payments/{id}/cancel: request that the daemon cancels the payment, as the API does."""
    queue_cancellation(request, payment_or_404(reference), by=_OPERATOR)
    return see_other(_page_of(reference), request)


def mark_settled(request: Request, reference: str) -> Response:
    """POST /operator/payments/{id}/settle: acknowledge everything that the form showed."""
    payment, form = payment_or_404(reference), request.session.form
    comment = form.get("comment", "").strip()
    if not is_comment(comment):
        message = f"must be one line with at most {MAX_COMMENT_CHARACTERS} characters"
        raise invalid([FieldError("comment", message)])
    shown = form.get("revision", "")
    # After a second click on the same button the payment is already done. This is no fault.
    is_repeated = shown == str(payment.revision) and not actions_for(payment)
    if not is_repeated and not _acknowledge(request, [(payment, shown)], comment):
        detail = "this payment has changed since the page was loaded; look at it again, then decide"
        raise Problem(HTTPStatus.CONFLICT, "has-changed", detail)
    return _back(request, _page_of(reference))


def mark_all_settled(request: Request) -> Response:
    """POST /operator/settle: acknowledge a whole list, except payments that have changed meanwhile."""
    form = request.session.form
    found = [(payment_by_reference(name), shown) for name, shown in form.items()]
    _acknowledge(request, [(payment, shown) for payment, shown in found if payment is not None])
    needs = form.get("needs", "")
    return _back(request, f"?needs={needs}" if needs in list(ActionNeeded) else "")


def undo(request: Request) -> Response:
    """POST /operator/undo: undo the marks that one form made, or the mark on one of its payments."""
    form = request.session.form
    only = form.get("payment")
    for decision in _decisions_of(form.get("at", "")):
        if only in (None, decision.payment.reference) and _can_undo(decision):
            with request.writers.transaction():
                is_undone = reopen(decision.payment, request.now, DecidedBy.PAGE)
            if is_undone:
                log.info("settlement undone", payment=decision.payment.reference, by=_OPERATOR)
    return _back(request, "" if only is None else _page_of(only))


def redeliver(request: Request, reference: str, event_reference: str, channel: str) -> Response:
    """POST /operator/payments/{id}/events/{event_id}/{channel}: request that the daemon sends it again.

    `channel` can also be the reference of one message, because an event may go to several endpoints.
    """
    payment = payment_or_404(reference)
    messages = [m for m in messages_of_payment(payment) if m.event_reference == event_reference]
    wanted = [message for message in messages if channel in (message.channel, message.reference)]
    if not wanted:
        raise not_found()
    for message in wanted:
        send_again(request, payment, message, by=_OPERATOR)
    return see_other(_return_path(request, _page_of(reference)), request)


def notice_of(request: Request) -> Notice | None:
    """Return the line about the decision in the parameter `done`, or None."""
    at = request.page_parameters().get("done", "")
    decisions = _decisions_of(at)
    if not decisions:
        return None
    match decisions[0].kind:
        case DecisionKind.ACCEPTED:
            return Notice("Accepted. The daemon counts the money now. This cannot be undone.")
        case DecisionKind.REOPENED:
            return Notice("Undone. The decision is open again.")
    count = len(decisions)
    text = "Done." if count == 1 else f"Done: {count} payments."
    return Notice(text, at if any(map(_can_undo, decisions)) else None)


def decision_moment(decision: Decision) -> str:
    """Return the name of the moment of a decision, for links and forms."""
    return str(Decision.at.db_value(decision.at))


def payment_or_404(reference: str) -> PaymentRequest:
    """Return the request with this id. Raise Problem 404."""
    payment = payment_by_reference(reference)
    if payment is None:
        raise not_found()
    return payment


def _acknowledge(request: Request, listed: Iterable[tuple[PaymentRequest, str]], comment: str = "") -> int:
    """Acknowledge the open payments that still have the revision on the page. Return their number."""
    unchanged = [p for p, shown in listed if shown == str(p.revision) and actions_for(p)]
    if not unchanged:
        return 0
    with request.writers.transaction():
        done = [p for p in unchanged if acknowledge(p, p.revision, request.now, DecidedBy.PAGE, comment)]
    for payment in done:
        log.info("payment settled", payment=payment.reference, by=_OPERATOR)
    return len(done)


def _decisions_of(at: str) -> list[Decision]:
    """Return the decisions of one form on the operator's page. `at` names its moment."""
    if not (at.isascii() and at.isdecimal() and len(at) <= _MAX_DIGITS):
        return []
    return [each for each in decisions_at(from_microseconds(int(at))) if each.by == DecidedBy.PAGE]


def _can_undo(decision: Decision) -> bool:
    """Return whether this decision is a mark as done, and the last decision on its payment."""
    last = last_decision(decision.payment)
    return decision.kind == DecisionKind.SETTLED and last is not None and last.id == decision.id


def _back(request: Request, otherwise: str) -> Response:
    """Redirect to the page with the form, which shows a line about this decision."""
    path = _return_path(request, otherwise)
    moment = urlencode({"done": Decision.at.db_value(request.now)})
    return see_other(f"{path}{'&' if '?' in path else '?'}{moment}", request)


def _return_path(request: Request, otherwise: str) -> str:
    """Return the path of the page with the form, without a leading slash."""
    to = request.session.form.get("to")
    return to if to is not None and is_our_path(to) else otherwise


def _page_of(reference: str) -> str:
    path = f"operator/payments/{reference}"
    return path if is_our_path(path) else ""
