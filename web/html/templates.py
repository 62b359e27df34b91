"""Pages from templates. Whatever a template puts between {{ and }} is escaped for HTML."""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from bottle import SimpleTemplate

from web.html.languages import Language, language_for
from web.html.static_files import HASHED
from web.http.request import Environ
from web.http.responses import HTML, PAGE_POLICY, Answer, Content

RELOAD_SECONDS = 10
"""How often a page reloads itself where no script may run."""

_DIRECTORY = str(Path(__file__).parent.parent / "views")


def page(
    template: SimpleTemplate,
    language: Language,
    *,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> Content:
    """The template, filled in."""
    text: str = template.render(language=language, files=HASHED, reload_seconds=RELOAD_SECONDS, **values)
    ours = {
        "Content-Security-Policy": PAGE_POLICY,
        "Content-Language": language.code,
        "Vary": "Accept-Language",
        **(headers or {}),
    }
    return Content(status, text.encode(), HTML, ours)


def template(name: str) -> SimpleTemplate:
    """A template of web/views."""
    return SimpleTemplate(name=name, lookup=[_DIRECTORY])


_PROBLEM = template("problem.tpl")
_PROBLEM_WORDS = {HTTPStatus.NOT_FOUND: "missing", HTTPStatus.SERVICE_UNAVAILABLE: "unavailable"}


def problem_page(problem: Answer, environ: Environ) -> Content:
    """A problem as somebody with a browser wants to be told of it."""
    return page(
        _PROBLEM,
        language_for(environ.get("HTTP_ACCEPT_LANGUAGE")),
        status=problem.status,
        headers=problem.headers,
        words=_PROBLEM_WORDS.get(HTTPStatus(problem.status), "fault"),
        is_passing=problem.status == HTTPStatus.SERVICE_UNAVAILABLE,
    )
