"""The way through WSGI: Bottle finds the route, and what is answered goes to the server as it is."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.client import responses
from typing import Any

from bottle import Bottle, HTTPError

from web.http.answer import Answer
from web.http.content import Content
from web.http.request import Environ

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Callback = Callable[[Environ, dict[str, str]], Answer | Content]
"""What a route is added with: it takes the environment, and the parts of the path."""


class Gateway(Bottle):  # type: ignore[misc]  # Bottle comes without types
    """Bottle without its request and its response. `unrouted` answers what no route is for.

    They are made twice for each call, and their headers checked and copied three times.
    """

    def __init__(self, unrouted: Callable[[HTTPError], Answer]) -> None:
        super().__init__()
        self._unrouted = unrouted

    def wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one call (PEP 3333)."""
        # WSGI has the bytes of the path as Latin-1.
        environ["PATH_INFO"] = environ["PATH_INFO"].encode("latin-1").decode(errors="ignore")
        try:
            route, parts = self.match(environ)
        except HTTPError as error:
            answer: Answer | Content = self._unrouted(error)
        else:
            answer = route.callback(environ, parts)
        return _sent(answer, environ["REQUEST_METHOD"] == "HEAD", start_response)


def _sent(answer: Answer | Content, is_head: bool, start_response: StartResponse) -> Iterable[bytes]:
    body, headers = answer.body, answer.all_headers
    if answer.status == HTTPStatus.NOT_MODIFIED:
        del headers["Content-Type"]
    elif isinstance(body, bytes):
        headers["Content-Length"] = str(len(body))
    cookies = answer.cookies if isinstance(answer, Content) else ()
    sent = [*headers.items(), *(("Set-Cookie", cookie) for cookie in cookies)]
    start_response(f"{answer.status:d} {responses[answer.status]}", sent)
    if isinstance(body, bytes):
        return [] if is_head else [body]
    return () if is_head else body
