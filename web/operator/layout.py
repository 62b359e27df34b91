"""Common parts of the operator's pages: their frame, number formats, redirects and problems."""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import urlencode

from bottle import SimpleTemplate

from models.daemon_status import known_network
from payments.network import network_mark
from web.html.languages import bitcoin, languages
from web.html.static_files import HASHED
from web.html.templates import template
from web.http import wsgi
from web.http.asgi import RAW_PATH
from web.http.database import network_of_problem
from web.http.request import Environ, Request
from web.http.responses import HTML, POLICY_WITH_FORMS, JsonResponse, Response

_PROBLEM = template("operator_problem.tpl")
_OUR_PATH = re.compile(r"(operator(/[A-Za-z0-9][A-Za-z0-9._-]*)+|api-keys/authorize)?(\?[!-~]*)?", re.ASCII)

_HEADINGS: Mapping[int, str] = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: "Nodetill cannot read this request",
        HTTPStatus.FORBIDDEN: "This is not allowed",
        HTTPStatus.NOT_FOUND: "There is no such page",
        HTTPStatus.CONFLICT: "This is not possible now",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "This is too much text",
        HTTPStatus.UNPROCESSABLE_ENTITY: "Please check your input",
        HTTPStatus.TOO_MANY_REQUESTS: "Please wait a moment",
        HTTPStatus.INTERNAL_SERVER_ERROR: "An error in Nodetill",
        HTTPStatus.SERVICE_UNAVAILABLE: "Nodetill is not available now",
    }
)
_NOTHING_HERE = "no page and no payment has this address; check it, or find the payment in the list"


def operator_page(
    name: SimpleTemplate, request: Request, *, status: int = HTTPStatus.OK, **values: object
) -> Response:
    """Render a template for a request. A band at the top names a test network."""
    return _filled(name, request.environ, status, {}, {"band": network_mark(known_network()), **values})


def see_other(path: str, request: Request, *cookies: str) -> Response:
    """Redirect to another page of Nodetill. `path` has no leading slash."""
    location = f"{root_of(request.environ)}{path}" or "./"
    return Response(HTTPStatus.SEE_OTHER, b"", HTML, {"Location": location}, cookies)


def operator_problem_page(problem: JsonResponse, environ: Environ) -> Response:
    """Return a problem as a page. For 401, redirect to the login, which later redirects back."""
    if problem.status == HTTPStatus.UNAUTHORIZED:
        login = f"{root_of(environ)}operator/login"
        is_page = environ["REQUEST_METHOD"] == "GET"
        location = f"{login}?{urlencode({'to': _path_of(environ)})}" if is_page else login
        return Response(HTTPStatus.SEE_OTHER, b"", HTML, {"Location": location})
    document = problem.document
    is_missing = problem.status == HTTPStatus.NOT_FOUND
    words = {
        "band": network_mark(network_of_problem(document["type"])),
        "title": _HEADINGS.get(problem.status, document["title"]),
        "detail": _NOTHING_HERE if is_missing else document["detail"],
        "errors": document.get("errors", ()),
    }
    return _filled(_PROBLEM, environ, problem.status, problem.headers, words)


def is_from_elsewhere(request: Request) -> bool:
    """Return whether a link of another site, such as webmail, led here.

    The browser then withholds Nodetill's cookies, because they are SameSite=Strict.
    """
    return request.header("Sec-Fetch-Site") == "cross-site"


def root_of(environ: Environ) -> str:
    """Return the relative URL from the requested page to the first page. A proxy may add a prefix to both."""
    return wsgi.relative_root(environ[RAW_PATH])


def is_our_path(path: str) -> bool:
    """Return whether the path is one of the operator's pages. A form must not redirect to another site."""
    return _OUR_PATH.fullmatch(path) is not None


def money(amount: str, currency: str) -> str:
    """Format an amount in the English way, such as 1,234.50 EUR."""
    return languages()["en"].amount(amount, currency)


def moment(when: datetime) -> str:
    """Format a time to the second. The page itself names UTC once."""
    return f"{when:%Y-%m-%d %H:%M:%S}"


def _filled(
    name: SimpleTemplate,
    environ: Environ,
    status: int,
    headers: Mapping[str, str],
    values: Mapping[str, object],
) -> Response:
    text: str = name.render(
        root=root_of(environ), files=HASHED, bitcoin=bitcoin, money=money, moment=moment, **values
    )
    ours = {
        "Content-Security-Policy": POLICY_WITH_FORMS,
        # With "no-referrer" a browser would send "Origin: null" with Nodetill's own forms.
        "Referrer-Policy": "same-origin",
    }
    return Response(status, text.encode(), HTML, {**ours, **headers})


def _path_of(environ: Environ) -> str:
    """Return the requested path and query without the leading slash."""
    path: str = environ[RAW_PATH].removeprefix("/")
    query = environ.get("QUERY_STRING")
    return f"{path}?{query}" if query else path
