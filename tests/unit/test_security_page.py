"""docs/security.md names existing tests."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
THREATS = range(1, 20)


def test_each_named_test_exists() -> None:
    written = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", written, re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named - existing == set()


def test_each_threat_and_each_fault_has_a_test() -> None:
    """A row without a test would be an unproven promise."""
    rows = [row for row in PAGE.splitlines() if row.startswith("| ") and not row.startswith("| ---")]
    heads = [row for row in rows if row.endswith("| tests |")]
    assert len(heads) == 2
    assert all("`test_" in row for row in rows if row not in heads)
    assert [int(row.split("|")[1]) for row in rows if row.split("|")[1].strip().isdecimal()] == [*THREATS]
