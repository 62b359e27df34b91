"""Pages from templates. Templates escape each value between {{ and }} for HTML."""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl

from bottle import SimpleTemplate

from payments.network import CUSTOM_SIGNET, is_test_network, network_label
from web.html.languages import Language, language_for
from web.html.static_files import HASHED
from web.http.asgi import RAW_PATH
from web.http.database import network_of_problem
from web.http.request import Environ
from web.http.responses import FRAMABLE_POLICY, HTML, PAGE_POLICY, JsonResponse, Response
from web.http.wsgi import relative_root

RELOAD_SECONDS = 10
"""The interval at which a page reloads if scripts are off."""
MODAL = "modal"
"""The value of `view` that a shop's script adds: the page then has a button that closes its frame."""

_DIRECTORY = str(Path(__file__).parent.parent / "views")
_PROBLEM_WORDS = {HTTPStatus.NOT_FOUND: "missing", HTTPStatus.SERVICE_UNAVAILABLE: "unavailable"}
_PROGRAMS_PATHS = ("/api/", "/spellbook/")


def page(
    template: SimpleTemplate,
    language: Language,
    *,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    network: str | None = None,
    **values: object,
) -> Response:
    """Render a template. A test network is named in a band at the top."""
    band = network_band(language, network)
    text: str = template.render(
        language=language, files=HASHED, reload_seconds=RELOAD_SECONDS, band=band, **values
    )
    ours = {
        "Content-Security-Policy": PAGE_POLICY,
        "Content-Language": language.code,
        "Vary": "Accept-Language",
        **(headers or {}),
    }
    return Response(status, text.encode(), HTML, ours)


def framable(page: Response) -> Response:
    """Return the page as one that a shop may show in a frame."""
    headers = {**page.headers, "Content-Security-Policy": FRAMABLE_POLICY}
    return replace(page, headers=headers, is_framable=True)


def network_band(language: Language, network: str | None) -> str | None:
    """Return the line that names a test network, or None for another network."""
    if network is None or not is_test_network(network):
        return None
    is_custom = network == CUSTOM_SIGNET
    label = language.say("page.custom_signet") if is_custom else network_label(network)
    return language.say("page.test_network", network=label)


def template(name: str) -> SimpleTemplate:
    """Return a template of web/views."""
    return SimpleTemplate(name=name, lookup=[_DIRECTORY])


_PROBLEM = template("problem.tpl")


def problem_page(problem: JsonResponse, environ: Environ) -> Response:
    """Return a problem as a page, in the customer's language."""
    return _problem_page(problem, environ, _PROBLEM_WORDS.get(HTTPStatus(problem.status), "fault"))


def framed_problem_page(problem: JsonResponse, environ: Environ) -> Response:
    """Return the same page for a frame. Without this page, a shop's button would seem to do nothing."""
    words = _PROBLEM_WORDS.get(HTTPStatus(problem.status), "fault")
    is_modal = ("view", MODAL) in parse_qsl(environ.get("QUERY_STRING", ""))
    return framable(_problem_page(problem, environ, words, is_modal=is_modal, scripts=("frame.js",)))


def unknown_path_page(problem: JsonResponse, environ: Environ) -> Response:
    """Return the problem of an unknown path: a page for a browser, and JSON for a program.

    The libraries of some programs accept HTML too, so the paths of the API always return JSON. The problem of
    a wrong method is always JSON, because browsers send none.
    """
    path: str = environ[RAW_PATH]
    is_for_people = problem.status == HTTPStatus.NOT_FOUND and "text/html" in environ.get("HTTP_ACCEPT", "")
    if path.startswith(_PROGRAMS_PATHS) or not is_for_people:
        return problem
    return _problem_page(problem, environ, "missing" if path.startswith(("/pay/", "/i/")) else "nowhere")


def _problem_page(
    problem: JsonResponse,
    environ: Environ,
    words: str,
    *,
    is_modal: bool = False,
    scripts: tuple[str, ...] = (),
) -> Response:
    return page(
        _PROBLEM,
        language_for(environ.get("HTTP_ACCEPT_LANGUAGE")),
        status=problem.status,
        headers=problem.headers,
        network=network_of_problem(problem.document["type"]),
        root=relative_root(environ[RAW_PATH]),
        words=words,
        is_modal=is_modal,
        scripts=scripts,
        is_passing=problem.status == HTTPStatus.SERVICE_UNAVAILABLE,
    )
