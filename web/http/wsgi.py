"""Connection of the application to Bottle: routes, refusals and responses."""

import re
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Any

from bottle import Bottle, HTTPError, HTTPResponse, request

from web.http.asgi import RAW_PATH
from web.http.request import Environ
from web.http.responses import HTML, JsonResponse, Problem, Response, not_found

Callback = Callable[[Environ, dict[str, str]], Response]
"""The function of a route. It takes the WSGI environment and the variable parts of the path."""
Converter = Callable[[JsonResponse, Environ], Response]
"""A function that converts a problem for its reader, such as to a page for a browser."""

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._~/-]*", re.ASCII)
_DOT_SEGMENT = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")


class Reader(Enum):
    """The reader of a route. The server redirects people who type superfluous slashes.

    SHOP is a person whom the plug-in of a shop leads here. Plug-ins write paths in any case, and add slashes.
    """

    PROGRAM = "program"
    OPERATOR = "operator"
    CUSTOMER = "customer"
    SHOP = "shop"


def bottle_app(convert: Converter, spell: Callable[[str], str]) -> Bottle:
    """Return a Bottle application without routes, which refuses requests by problems.

    `convert` converts the problem of an unknown path, and of a method that a path does not have. `spell`
    returns the spelling of a path that the routes have.
    """
    app = Bottle()

    def respell() -> None:
        request.environ["PATH_INFO"] = spell(request.environ["PATH_INFO"])

    def not_here(_error: HTTPError) -> HTTPResponse:
        page = _page_at_usual_spelling(app)
        return bottle_response(page or convert(not_found().response, request.environ))

    def not_allowed(error: HTTPError) -> HTTPResponse:
        return bottle_response(convert(_not_allowed(error).response, request.environ))

    app.add_hook("before_request", respell)
    app.error(HTTPStatus.NOT_FOUND)(not_here)
    app.error(HTTPStatus.METHOD_NOT_ALLOWED)(not_allowed)
    app.error(HTTPStatus.INTERNAL_SERVER_ERROR)(lambda _error: bottle_response(internal_error().response))
    return app


def add_route(app: Bottle, method: str, path: str, callback: Callback, reader: Reader) -> None:
    """Let `callback` respond to `method` on `path`. Bottle serves HEAD wherever it serves GET."""

    def respond(**parts: str) -> HTTPResponse:
        return bottle_response(callback(request.environ, parts))

    app.route(path, method, respond, reader=reader)


def bottle_response(response: Response) -> HTTPResponse:
    """Convert a response to Bottle's."""
    converted = HTTPResponse(response.body, response.status, response.all_headers)
    for cookie in response.cookies:
        converted.add_header("Set-Cookie", cookie)
    return converted


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


def relative_root(path: str) -> str:
    """Return the relative URL from a path to "/". Behind a proxy, "/" may have a prefix."""
    return "../" * (path.count("/") - 1)


def _page_at_usual_spelling(app: Bottle) -> Response | None:
    """Return a redirect to the usual spelling of the path, if a page for people is there."""
    raw: str = request.environ[RAW_PATH]
    if not _is_plain(raw) or request.method not in ("GET", "HEAD"):
        return None
    path = re.sub("/+", "/", raw).rstrip("/") or "/"
    # An id in the second part of a path has upper and lower case.
    first, slash, rest = path[1:].partition("/")
    for spelling in dict.fromkeys((path, f"/{first.lower()}{slash}{rest}", path.lower())):
        reader = _reader_at(spelling, app)
        if spelling != raw and _is_redirected(reader, raw, path, spelling):
            query = f"?{request.query_string}" if request.query_string else ""
            location = f"{relative_root(raw)}{spelling.removeprefix('/')}" or "./"
            return Response(HTTPStatus.SEE_OTHER, b"", HTML, {"Location": f"{location}{query}"})
    return None


def _reader_at(path: str, app: Bottle) -> Any:
    """Return the reader of the page at this path, or None."""
    try:
        route, _ = app.match({"PATH_INFO": path, "REQUEST_METHOD": "GET"})
    except HTTPError:
        return None
    return route.config.get("reader")


def _is_redirected(reader: Any, raw: str, path: str, spelling: str) -> bool:
    match reader:
        case Reader.SHOP:
            return True
        case Reader.CUSTOMER:
            return spelling == path
        case Reader.OPERATOR:
            # A proxy may guard the operator's pages by their first characters.
            return spelling == path == raw.rstrip("/")
    return False


def _is_plain(path: str) -> bool:
    return _PLAIN_PATH.fullmatch(path) is not None and not _DOT_SEGMENT.search(path)


def _not_allowed(error: HTTPError) -> Problem:
    if not _is_plain(request.environ[RAW_PATH]):
        return not_found()
    methods = {*error.headers["Allow"].split(",")}
    if "GET" in methods:
        methods.add("HEAD")
    names = sorted(methods)
    verb = "is" if len(names) == 1 else "are"
    detail = f"only {' and '.join(names)} {verb} allowed here"
    headers = {"Allow": ", ".join(names)}
    return Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", detail, headers=headers)
