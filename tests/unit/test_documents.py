"""Links and citations in documents and code are valid, and ARCHITECTURE.md has a limited length."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
MAX_WORDS = 1500
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_has_an_existing_target(page: Path) -> None:
    """It is a file of this repository, or another site."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_architecture_is_short_and_lists_each_decision() -> None:
    """The decision records have the details."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(text.split()) <= MAX_WORDS
    for path in DECISIONS:
        assert f"docs/decisions/{path.name}" in text


@pytest.mark.parametrize("record", DECISIONS, ids=lambda record: record.stem[:4])
def test_a_decision_has_its_parts(record: Path) -> None:
    """They are number, date, context, decision and figures."""
    text = record.read_text(encoding="utf-8")
    assert re.match(rf"# {record.name[:4]}\. \S", text)
    assert re.search(r"^Date: \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == ["Context", "Decision", "Figures"]


def test_the_code_cites_existing_documents() -> None:
    rooms = "config payments models daemon web admin regtest bench tests".split()
    for path in (*ROOT.glob("*.py"), *(each for room in rooms for each in (ROOT / room).rglob("*.py"))):
        text = path.read_text(encoding="utf-8")
        for cited in re.findall(r"\bdocs/[\w/-]+\.md\b|\b[A-Z]+\.md\b", text):
            assert (ROOT / cited).exists(), f"{path}: {cited}"
