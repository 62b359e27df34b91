"""Login and logout of the operator.

After a wrong password the same client has to wait. The pause holds in all processes and threads. A client is
an IPv4 address, an IPv6 network, or a browser that has logged in before. Therefore guesses by other clients
do not lock the operator out.
"""

from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus

import structlog

from models.operator_session import begin_session, end_all_sessions, end_session
from web.auth.access import check_password, is_logged_in
from web.auth.cookies import (
    BROWSER,
    BROWSER_SECONDS,
    KNOWN,
    SESSION,
    SESSION_SECONDS,
    STRANGER,
    cookie,
    new_id,
    signer_of,
)
from web.auth.origin import client_address
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Problem, Response
from web.operator.layout import is_from_elsewhere, is_our_path, operator_page, see_other

log = structlog.get_logger(__name__)

_PAGE = template("login.tpl")


def show(request: Request) -> Response:
    """GET /operator/login: the form. `to` names the page to open after the login."""
    to = request.page_parameters().get("to", "")
    if is_logged_in(request):
        return see_other(_checked(to), request)
    return _form(request, to, reload_at_once=is_from_elsewhere(request))


def enter(request: Request) -> Response:
    """POST /operator/login: log in. Else return the form, with 403 for a wrong password, 429 in the pause."""
    browser, settings = request.session, request.settings
    to = browser.form.get("to", "")
    try:
        check_password(request, browser.form.get("password", ""))
    except Problem as problem:
        return _form(request, to, problem=problem)
    session = new_id()
    with request.writers.transaction():
        begin_session(session, request.now, request.now + timedelta(seconds=SESSION_SECONDS))
    log.info("operator logged in", address=client_address(request.environ))
    signer = signer_of(request)
    return see_other(
        _checked(to),
        request,
        cookie(SESSION, signer.sign(SESSION, session), SESSION_SECONDS, settings),
        cookie(BROWSER, signer.sign(KNOWN, browser.id), BROWSER_SECONDS, settings),
    )


def leave(request: Request) -> Response:
    """POST /operator/logout: end the session, also for copies of its cookie."""
    with request.writers.transaction():
        end_session(request.session.id)
    log.info("operator logged out")
    return _to_login(request)


def leave_everywhere(request: Request) -> Response:
    """POST /operator/logout/everywhere: end every session, in this browser and in all others."""
    with request.writers.transaction():
        sessions = end_all_sessions()
    log.info("operator logged out everywhere", sessions=sessions, address=client_address(request.environ))
    return _to_login(request)


def _to_login(request: Request) -> Response:
    return see_other("operator/login", request, cookie(SESSION, "", 0, request.settings))


def _form(
    request: Request, to: str, *, reload_at_once: bool = False, problem: Problem | None = None
) -> Response:
    browser = request.session
    page = operator_page(
        _PAGE,
        request,
        status=problem.status if problem else HTTPStatus.OK,
        to=_checked(to),
        fault=problem.detail if problem else None,
        reload_at_once=reload_at_once,
    )
    signed = signer_of(request).sign(KNOWN if browser.is_known else STRANGER, browser.id)
    ours = cookie(BROWSER, signed, BROWSER_SECONDS, request.settings)
    return replace(page, headers={**page.headers, **(problem.headers if problem else {})}, cookies=(ours,))


def _checked(to: str) -> str:
    """Return the path if it is a page of the operator's, else the first page."""
    return to if is_our_path(to) else ""
