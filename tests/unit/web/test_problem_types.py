"""Each problem has a type with a title of its own, and /docs explains that type."""

import ast
import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from web.http.problem_types import PROBLEM_TYPES, title_of
from web.http.responses import Problem

ROOT = Path(__file__).parent.parent.parent.parent
NGINX = ROOT / "nginx" / "nodetill.conf"


def names_in_code() -> Iterator[tuple[Path, str]]:
    """Yield the name of each problem that web/ creates. A name is literal, so that this test finds it."""
    for path in sorted((ROOT / "web").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            place = {"Problem": 1, "unavailable": 0}.get(call.func.id)
            if place is not None and path.name != "responses.py":
                name = call.args[place]
                assert isinstance(name, ast.Constant), f"{path}: {ast.unparse(call)}"
                yield path, str(name.value)


def test_each_problem_in_the_code_has_a_type() -> None:
    """The title is more specific than the phrase of the HTTP status."""
    names = {name for _, name in names_in_code()} | {"malformed", "invalid", "not-found"}
    phrases = {status.phrase for status in HTTPStatus} - {"Not Found", "Method Not Allowed"}
    for name in names:
        assert title_of(name) not in phrases, name


def test_no_answer_has_a_phrase_of_the_interpreter() -> None:
    """Python 3.13 names the statuses 413, 414, 416 and 422 anew, and an answer must stay the same."""
    of_status = re.compile(r"\.phrase\b|HTTPStatus\S*\.name\b|\bhttp\.client\b|BaseHTTPRequestHandler")
    for path in sorted((ROOT / "web").rglob("*.py")):
        assert of_status.search(path.read_text(encoding="utf-8")) is None, path


def test_each_type_is_used() -> None:
    """The code creates it, or nginx."""
    used = {name for _, name in names_in_code()} | {"malformed", "invalid", "not-found", "away"}
    assert set(PROBLEM_TYPES) <= used


@pytest.mark.parametrize("name", PROBLEM_TYPES)
def test_a_type_has_a_meaning_and_a_cure(name: str) -> None:
    """The meaning and the cure are whole sentences."""
    kind = PROBLEM_TYPES[name]
    assert 400 <= kind.status <= 599
    for text in (kind.meaning, kind.cure):
        assert text[0].isupper() or text[0] == "`"
        assert text.endswith(".")


def test_nginx_gives_the_same_titles() -> None:
    """A program can't distinguish the problems of nginx from those of Nodetill."""
    problems = [json.loads(text) for text in re.findall(r"return \d+ '(\{.*\})'", NGINX.read_text())]
    assert len(problems) == 2
    for problem in problems:
        name = problem["type"].removeprefix("urn:nodetill:problem:")
        assert problem["title"] == PROBLEM_TYPES[name].title
        assert problem["status"] == PROBLEM_TYPES[name].status


def test_a_problem_can_have_further_members() -> None:
    """RFC 9457, 3.2 allows them. The members of the standard stay."""
    problem = Problem(HTTPStatus.CONFLICT, "not-late", "it is paid", members={"payment_status": "confirmed"})
    assert problem.response.document == {
        "type": "urn:nodetill:problem:not-late",
        "title": "Request is not late",
        "status": 409,
        "detail": "it is paid",
        "payment_status": "confirmed",
    }
