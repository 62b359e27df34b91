"""Connect the application to Bottle: its routes, its refusals, and its responses in Bottle's form."""

from collections.abc import Callable
from http import HTTPStatus

from bottle import Bottle, HTTPError, HTTPResponse, request

from web.http.request import Environ
from web.http.responses import Content, Problem, not_found, refused

Callback = Callable[[Environ, dict[str, str]], Content]
"""The function of a route. It takes the WSGI environment and the variable parts of the path."""


def bottle_app() -> Bottle:
    """Return a Bottle application without routes that refuses by problems."""
    app = Bottle()
    app.error(HTTPStatus.NOT_FOUND)(lambda _error: bottle_response(not_found().answer))
    app.error(HTTPStatus.METHOD_NOT_ALLOWED)(_not_allowed)
    app.error(HTTPStatus.INTERNAL_SERVER_ERROR)(lambda _error: bottle_response(internal_error().answer))
    return app


def add_route(app: Bottle, method: str, path: str, callback: Callback) -> None:
    """Let `callback` respond to `method` on `path`; Bottle serves HEAD wherever it serves GET."""

    def respond(**parts: str) -> HTTPResponse:
        return bottle_response(callback(request.environ, parts))

    app.route(path, method, respond)


def bottle_response(content: Content) -> HTTPResponse:
    """Convert a response to Bottle's."""
    response = HTTPResponse(content.body, content.status, content.all_headers)
    for cookie in content.cookies:
        response.add_header("Set-Cookie", cookie)
    return response


def internal_error() -> Problem:
    """Return 500, for a fault of the program."""
    return refused(HTTPStatus.INTERNAL_SERVER_ERROR, "an error in Nodetill; its log has the details")


def _not_allowed(error: HTTPError) -> HTTPResponse:
    methods = {*error.headers["Allow"].split(",")}
    if "GET" in methods:
        methods.add("HEAD")
    allowed = ", ".join(sorted(methods))
    problem = refused(HTTPStatus.METHOD_NOT_ALLOWED, f"this address takes {allowed}", {"Allow": allowed})
    return bottle_response(problem.answer)
