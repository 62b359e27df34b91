"""Connection of the application to Bottle: routes, refusals and responses."""

import re
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Any

from bottle import Bottle, HTTPError, HTTPResponse, request

from web.http.asgi import RAW_PATH
from web.http.request import Environ
from web.http.responses import HTML, Answer, Content, Problem, not_found

Callback = Callable[[Environ, dict[str, str]], Content]
"""The function of a route. It takes the WSGI environment and the variable parts of the path."""
Converter = Callable[[Answer, Environ], Content]
"""A function that converts a problem for its reader, such as to a page for a browser."""

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._~/-]*", re.ASCII)
_DOT_SEGMENT = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")


class Reader(Enum):
    """The reader of a route. The server redirects people who type superfluous slashes."""

    PROGRAM = "program"
    OPERATOR = "operator"
    CUSTOMER = "customer"


def bottle_app(convert: Converter) -> Bottle:
    """Return a Bottle application without routes, which refuses requests by problems.

    `convert` converts the problem of an unknown path.
    """
    app = Bottle()

    def not_here(_error: HTTPError) -> HTTPResponse:
        page = _page_without_extra_slashes(app)
        return bottle_response(page or convert(not_found().answer, request.environ))

    app.error(HTTPStatus.NOT_FOUND)(not_here)
    app.error(HTTPStatus.METHOD_NOT_ALLOWED)(_not_allowed)
    app.error(HTTPStatus.INTERNAL_SERVER_ERROR)(lambda _error: bottle_response(internal_error().answer))
    return app


def add_route(app: Bottle, method: str, path: str, callback: Callback, reader: Reader) -> None:
    """Let `callback` respond to `method` on `path`. Bottle serves HEAD wherever it serves GET."""

    def respond(**parts: str) -> HTTPResponse:
        return bottle_response(callback(request.environ, parts))

    app.route(path, method, respond, reader=reader)


def bottle_response(content: Content) -> HTTPResponse:
    """Convert a response to Bottle's."""
    response = HTTPResponse(content.body, content.status, content.all_headers)
    for cookie in content.cookies:
        response.add_header("Set-Cookie", cookie)
    return response


def internal_error() -> Problem:
    """Return 500, for an error of the program."""
    detail = "an error in Nodetill; its log has the details"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-server-error", detail)


def check_spelling(environ: Environ) -> None:
    """Refuse a path that a proxy in front may take for another path. Raise Problem 404.

    All our paths consist of unreserved characters (RFC 3986, 2.3), so none needs an escape. A proxy that
    guards a path, such as /metrics, therefore has to match only one spelling.
    """
    if not _is_plain(environ[RAW_PATH]):
        raise not_found()


def root_of(path: str) -> str:
    """Return the relative URL from a path to "/". Behind a proxy, "/" may have a prefix."""
    return "../" * (path.count("/") - 1)


def _page_without_extra_slashes(app: Bottle) -> Content | None:
    """Return a redirect to the same path without superfluous slashes, if that is a page for people."""
    raw: str = request.environ[RAW_PATH]
    path = re.sub("/+", "/", raw).rstrip("/") or "/"
    if path == raw or not _is_plain(raw) or request.method not in ("GET", "HEAD"):
        return None
    try:
        route, _ = app.match({"PATH_INFO": path, "REQUEST_METHOD": "GET"})
    except HTTPError:
        return None
    reader: Any = route.config.get("reader")
    # A proxy may guard the operator's pages by their first characters.
    is_redirected = reader is Reader.CUSTOMER or (reader is Reader.OPERATOR and raw.rstrip("/") == path)
    if not is_redirected:
        return None
    query = f"?{request.query_string}" if request.query_string else ""
    location = f"{root_of(raw)}{path.removeprefix('/')}" or "./"
    return Content(HTTPStatus.SEE_OTHER, b"", HTML, {"Location": f"{location}{query}"})


def _is_plain(path: str) -> bool:
    return _PLAIN_PATH.fullmatch(path) is not None and not _DOT_SEGMENT.search(path)


def _not_allowed(error: HTTPError) -> HTTPResponse:
    if not _is_plain(request.environ[RAW_PATH]):
        return bottle_response(not_found().answer)
    methods = {*error.headers["Allow"].split(",")}
    if "GET" in methods:
        methods.add("HEAD")
    names = sorted(methods)
    verb = "is" if len(names) == 1 else "are"
    detail = f"only {' and '.join(names)} {verb} allowed here"
    headers = {"Allow": ", ".join(names)}
    problem = Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", detail, headers=headers)
    return bottle_response(problem.answer)
